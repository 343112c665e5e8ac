"""The servers a job needs, started from wheels for the length of a `with` block.

Used by `darkroom demo`, `darkroom up` and `darkroom parity`, and by the tests. Nothing here is
for production: the data of a stack is thrown away with its folder.

Servers are started from the thread that enters the block and die with it (see
`devkit.launch`), so enter it in the main thread, or in one that lives as long.
"""

from devkit.stack.embedded_stack import EmbeddedStack
from devkit.stack.folder import private_folder
from devkit.stack.postgres import EmbeddedPostgres
from devkit.stack.redis import EmbeddedRedis
from devkit.stack.server import EmbeddedServer
from devkit.stack.sqs import EmbeddedSqs

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "EmbeddedServer",
    "EmbeddedSqs",
    "EmbeddedStack",
    "private_folder",
]
