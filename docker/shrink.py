"""Removes from the image's environment the descriptions of AWS services that are not used.

`shrink.py FOLDER`, in the build of the image: botocore describes over 400 services in 30 MB.
"""

import shutil
import sys
from pathlib import Path

USED = {"s3", "secretsmanager", "sqs", "sso", "sso-oidc", "sts"}
"""What we ask for, and what boto3 asks for credentials."""


def main(folder: Path) -> None:
    """Shrink the environment in a folder."""
    [data] = folder.glob("lib/python*/site-packages/botocore/data")
    services = {path for path in data.iterdir() if path.is_dir()}
    if not {path.name for path in services} >= USED:
        sys.exit(f"{data} does not describe {', '.join(sorted(USED))}")
    for path in services:
        if path.name not in USED:
            shutil.rmtree(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
