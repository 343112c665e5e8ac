"""The process of the embedded SQS: moto's HTTP server, run by `devkit.stack.sqs`.

Unlike moto's own command it does not log every request, which a polling worker would turn
into a file without end.
"""

import logging
import signal
import sys

from moto.server import ThreadedMotoServer


def main() -> None:
    """Serve on 127.0.0.1 and the port given on the command line, until a signal comes."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
    server.start()
    signal.pause()


if __name__ == "__main__":
    main()
