"""`python -m local.api`: the HTTP API of the local runtime, see `local.web.serve`."""

import sys

from shared.errors import ConfigurationError, one_line
from shared.extras import naming_extras
from shared.terminal import printable

if __name__ == "__main__":
    try:
        with naming_extras():
            from local.web.serve import main
    except ConfigurationError as error:
        sys.stderr.write(f"{printable(one_line(str(error)))}\n")
        sys.exit(2)
    sys.exit(main(sys.argv[1:]))
