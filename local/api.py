"""`python -m local.api`: the HTTP API of the local runtime, see `local.web.serve`."""

import sys

from local.web.serve import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
