"""A TCP proxy between one process and one server, whose network can be broken in every way that networks break.

All links live on one event loop, on a thread of its own; their faults are set from other threads.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

from tests.chaos.amqp_stream import Frames, is_ack
from tests.services.ports import free_port

CHUNK = 64 * 1024
#: Seconds to reach the server.
CONNECT_S = 2.0
#: Between looks whether a direction that is held may go on, seconds.
LOOK_S = 0.01
#: SO_LINGER with no time: closing sends a reset in place of an end.
RESET = struct.pack("ii", 1, 0)


class Way(Enum):
    """A direction."""

    UP = auto()
    DOWN = auto()


class Conditions:
    """The network between a process and its server; a fault changes it, and `heal` makes it good again."""

    def __init__(self) -> None:
        #: New connections are refused.
        self.cut = False
        #: Directions in which nothing moves: bytes wait, as TCP's would.
        self.held: frozenset[Way] = frozenset()
        #: Seconds that each piece takes.
        self.latency_s = 0.0
        #: Bytes a second; 0: as fast as it goes.
        self.rate = 0
        #: AMQP: the server's confirms never arrive.
        self.drops_confirms = False
        #: AMQP: seconds that a consumer's acknowledgement, and whatever follows it, takes.
        self.ack_delay_s = 0.0


class Connection:
    """One client's connection through the link."""

    def __init__(self, link: "Link", client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._link = link
        self._writers = {Way.UP: server, Way.DOWN: client}
        self._frames = {Way.UP: Frames(), Way.DOWN: Frames()}
        #: Both sides believe in it, and nothing passes any more.
        self.forgotten = False
        #: The next piece is cut in its middle, and both sides are reset.
        self.torn = False

    async def pump(self, way: Way, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(CHUNK):
                for piece in self._frames[way].cut(data) if self._link.amqp else [data]:
                    await self._pass(way, piece)
            if not self.forgotten:
                self._writers[way].write_eof()
        except OSError:
            self.close()

    async def _pass(self, way: Way, piece: bytes) -> None:
        now = self._link.now
        if self._link.amqp and is_ack(piece):
            if way is Way.DOWN and now.drops_confirms:
                self._link.dropped += 1
                return
            if way is Way.UP and now.ack_delay_s:
                await asyncio.sleep(now.ack_delay_s)
        await self._weather(way, piece)
        if self.torn:
            self._writers[way].write(piece[: max(1, len(piece) // 2)])
            self.close()
            raise ConnectionResetError("torn by the proxy")
        if not self.forgotten:
            self._writers[way].write(piece)
            await self._writers[way].drain()

    async def _weather(self, way: Way, piece: bytes) -> None:
        while way in self._link.now.held and not self._writers[way].is_closing():
            await asyncio.sleep(LOOK_S)
        now = self._link.now
        if now.latency_s or now.rate:
            await asyncio.sleep(now.latency_s + (len(piece) / now.rate if now.rate else 0.0))

    def close(self) -> None:
        """Reset both sides."""
        for writer in self._writers.values():
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Link:
    """Listens on a port of its own and carries connections to a server; of several, to the first that answers."""

    def __init__(self, name: str, *upstreams: int, amqp: bool = False) -> None:
        self.name = name
        self.amqp = amqp
        self.now = Conditions()
        self.port = free_port()
        #: Confirms that were dropped.
        self.dropped = 0
        self._upstreams = upstreams
        self.connections: set[Connection] = set()

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = None if self.now.cut else await self._reach()
        if found is None:
            writer.transport.abort()
            return
        connection = Connection(self, writer, found[1])
        self.connections.add(connection)
        try:
            await asyncio.gather(connection.pump(Way.UP, reader), connection.pump(Way.DOWN, found[0]))
        except OSError:
            pass
        finally:
            for one in (writer, found[1]):
                one.close()
            self.connections.discard(connection)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for port in self._upstreams:
            with suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), CONNECT_S)
        return None


class Proxies:
    """The links, and the thread they live on."""

    def __init__(self, *links: Link) -> None:
        self.links = {link.name: link for link in links}
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)

    def start(self) -> None:
        self._thread.start()
        for link in self.links.values():
            self._servers.append(asyncio.run_coroutine_threadsafe(link.serve(), self._loop).result(10))

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for link in self.links.values():
            link.now = Conditions()
            for connection in link.connections:
                connection.close()
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=2 * CONNECT_S)
        # Transports close one turn of the loop after they are told to.
        await asyncio.sleep(0)

    def each(self, name: str, change: Callable[[Connection], None]) -> None:
        """Do something to every connection of a link."""
        link, done = self.links[name], threading.Event()

        def run() -> None:
            for connection in list(link.connections):
                change(connection)
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(10)

    # -- what breaks ----------------------------------------------------------------------------------------------

    def cut(self, name: str) -> None:
        """Connections are reset, new ones refused."""
        self.links[name].now.cut = True
        self.reset(name)

    def reset(self, name: str) -> None:
        self.each(name, Connection.close)

    def tear(self, name: str) -> None:
        """Reset each connection in the middle of what it carries next."""

        def torn(connection: Connection) -> None:
            connection.torn = True

        self.each(name, torn)

    def forget(self, name: str) -> None:
        """Connections stay open on both sides and carry nothing any more, as behind a firewall that restarted."""

        def forgotten(connection: Connection) -> None:
            connection.forgotten = True

        self.each(name, forgotten)

    def heal(self, name: str) -> None:
        """The network is good again; what it did to connections stays done."""
        self.links[name].now = Conditions()
