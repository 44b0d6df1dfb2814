"""A TLS server in front of a plain one, of OpenSSL's making: it knows keys that the tests' own server does not.

  tls_front.py FOLDER PORT     prints its own port

FOLDER holds server.pem and server.key; what comes is sent on to 127.0.0.1:PORT.
"""

import asyncio
import ssl
import sys
from pathlib import Path


async def pipe(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")

    async def serve(reader, writer):
        behind, into = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, into), pipe(behind, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
