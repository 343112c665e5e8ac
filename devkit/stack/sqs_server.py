"""The process of the embedded SQS: moto's HTTP server, run by `devkit.stack.sqs`.

Unlike moto's own command it serves those alone who have its key, and does not log every request,
which a polling worker would turn into a file without end.
"""

import logging
import re
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"

_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/")
"""The access key id of a signed request (IAM User Guide, "Elements of an AWS API request
signature")."""


class Guard:
    """Passes on signed requests with the key; refuses all others, and whatever a page sends.

    Moto checks no signature, answers pages of every origin, and deletes everything when asked.
    """

    def __init__(self, app: "WSGIApplication", host: str, key: str) -> None:
        self._app, self._host, self._key = app, host, key

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Serve one request (WSGI)."""
        signed = _CREDENTIAL.match(environ.get("HTTP_AUTHORIZATION", ""))
        is_page = "HTTP_ORIGIN" in environ or environ.get("HTTP_HOST") != self._host
        given = signed.group(1) if signed is not None else ""
        if is_page or not secrets.compare_digest(given.encode(), self._key.encode()):
            return Response(status=403)(environ, start_response)
        return self._app(environ, start_response)


def main() -> None:
    """Serve on a port of the loopback address, until a signal comes.

    The command line has the port and a file that holds the key.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port, key = int(sys.argv[1]), Path(sys.argv[2]).read_text("ascii")
    app = Guard(DomainDispatcherApplication(create_backend_app), f"{HOST}:{port}", key)
    make_server(HOST, port, app, threaded=True, request_handler=MotoRequestHandler).serve_forever()


if __name__ == "__main__":
    main()
