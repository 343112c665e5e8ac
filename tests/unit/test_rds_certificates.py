"""Servers of Amazon RDS prove that they are the ones; other addresses stay as they are."""

import re
import ssl
from datetime import UTC, datetime

import pytest
from sqlalchemy import make_url

from shared.rds_certificates import FOLDER, verify_rds

RDS = "postgresql+psycopg2://shop:p%40ss@shop.c1a2b3.eu-central-1.rds.amazonaws.com:5432/shop"
PEM = str(FOLDER / "eu-central-1.pem")


@pytest.mark.parametrize("query", ["", "?sslmode=require", "?sslmode=verify-full"])
def test_a_server_of_rds_is_verified(query: str) -> None:
    """With the certificates of its region; whatever else the address says stays."""
    found = make_url(verify_rds(RDS + query))
    assert found.query == {"sslmode": "verify-full", "sslrootcert": PEM}
    assert (found.host, found.password) == (make_url(RDS).host, "p@ss")
    more = make_url(verify_rds(f"{RDS}?sslmode=verify-ca&options=-csearch_path%3Dx"))
    assert more.query == {
        "sslmode": "verify-ca", "options": "-csearch_path=x", "sslrootcert": PEM
    }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        f"{RDS}?sslmode=prefer",
        f"{RDS}?sslmode=disable",
        f"{RDS}?sslmode=require&sslrootcert=/ca.pem",
        "postgresql://db/shop?sslmode=require",
        "postgresql://shop@x.c1.xx-new-9.rds.amazonaws.com/shop?sslmode=require",
        "postgresql://shop@x.c1.eu-central-1.rds.amazonaws.com.evil.example/shop",
        "postgresql:///shop?host=/tmp/pg",
        "postgresql://a.b.eu-central-1.rds.amazonaws.com,c.d.eu-central-1.rds.amazonaws.com/x",
    ],
)
def test_other_addresses_stay_as_they_are(url: str) -> None:
    """Also those of a region that has no file."""
    assert verify_rds(url) == url


def test_every_file_holds_the_roots_of_its_region() -> None:
    """Valid for years, and those of RDS Proxy."""
    files = sorted(FOLDER.glob("*.pem"))
    assert len(files) > 25
    for path in files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(path)
        names = [str(each["subject"]) for each in context.get_ca_certs()]
        assert sum(f"RDS {path.stem} Root CA" in name for name in names) == 3, path
        assert any("Amazon Root CA 1" in name for name in names)
        for each in context.get_ca_certs():
            until = ssl.cert_time_to_seconds(str(each["notAfter"]))
            assert until > datetime(2035, 1, 1, tzinfo=UTC).timestamp()
        assert re.fullmatch(r"[a-z]{2}-[a-z-]+-[0-9]", path.stem)
