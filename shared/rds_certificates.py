"""The certificates that Amazon RDS has in each region, and which addresses they are for."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

FOLDER = Path(__file__).parent / "certificates"

_RDS_HOST = re.compile(
    r"(?:.*@)?[^@/?,]+\.([a-z0-9-]+)\.rds\.amazonaws\.com(?::[0-9]+)?", re.DOTALL
)
_UNCHECKED = ("require", None)
_CHECKED = ("verify-ca", "verify-full")


def verify_rds(url: str) -> str:
    """Return the address of a database so that a server of RDS must prove that it is the one.

    An address stays as it is if its host is not of RDS, if its region is not known here, if it
    names certificates of its own, or if its `sslmode` allows connections without TLS.
    """
    address, _, query = url.partition("?")
    host = address.partition("://")[2].rpartition("/")[0] or address.partition("://")[2]
    found = _RDS_HOST.fullmatch(host)
    options = dict(parse_qsl(query))
    mode = options.get("sslmode")
    if found is None or "sslrootcert" in options or mode not in (*_UNCHECKED, *_CHECKED):
        return url
    path = FOLDER / f"{found.group(1)}.pem"
    if not path.is_file():
        return url
    options["sslmode"] = mode if mode in _CHECKED else "verify-full"
    return f"{address}?{urlencode({**options, 'sslrootcert': str(path)}, safe='/')}"
