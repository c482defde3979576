"""A client that knows as soon as its kernel is ready, is patient with it on a busy machine, and never
stumbles over what it sends."""

import asyncio
from queue import Empty
from typing import Any

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from traitlets import Type, default
from zmq.asyncio import Context

from .clock import Clock, Waits
from .messages import Message, well_formed

LEAST = 0.02  # seconds between looks at what a kernel has used


class Channel(AsyncZMQSocketChannel):
    """A channel that passes over what is no message: a student's code may send anything on it."""

    waits: Waits | None = None  # see Clock

    async def get_msg(self, timeout: float | None = None) -> Message:  # type: ignore[override]
        """Return the next message. Raises Empty after `timeout` seconds that the kernel could use."""
        clock, left = Clock(self.waits), timeout
        while True:
            try:
                if message := await super().get_msg(left):
                    return message
                await asyncio.sleep(0)
            except Empty:
                if timeout is None or timeout <= clock.used():
                    raise
            left = timeout and max(LEAST, timeout - clock.used())

    async def _recv(self, **how: Any) -> Message | None:  # type: ignore[override]
        parts = await self.socket.recv_multipart(**how)
        try:
            return well_formed(self.session.deserialize(self.session.feed_identities(parts)[1]))
        except Exception:
            return None


class PromptClient(AsyncKernelClient):
    """AsyncKernelClient, but it waits for one answer in place of a fifth of a second of silence."""

    shell_channel_class = Type(Channel)
    iopub_channel_class = Type(Channel)

    @default("context")
    def _prompt_context(self) -> Context:
        context = self._context_default()  # which remembers to close it
        context.setsockopt(zmq.RECONNECT_IVL, 5)  # milliseconds: the kernel binds while this connects
        return context

    def start_channels(self, *arguments: Any, **settings: Any) -> None:
        """Start the channels; replies are waited for as `waits` of the kernel's provisioner says."""
        # The others: what nobody reads would pile up, and half a heartbeat would be waited for without end.
        super().start_channels(*arguments, **settings | {"stdin": False, "control": False, "hb": False})
        self.shell_channel.waits = waits_of(self.parent)

    async def wait_for_ready(self, timeout: float | None = 60) -> None:
        """Wait until the kernel answers and its outputs reach this client.

        Raises RuntimeError if it ends or does not answer within `timeout` seconds that it could use.
        """
        clock = Clock(waits_of(self.parent))
        while timeout is None or clock.used() < timeout:
            request = self.kernel_info()
            try:
                while not self.ends(request, await self.get_iopub_msg(timeout=0.02)):
                    pass
                return
            except Empty:  # it was busy, or answered before this client listened: ask again
                if not await self.is_alive():
                    raise RuntimeError("The kernel ended before it was ready.") from None
        raise RuntimeError(f"The kernel was not ready after {timeout} seconds.")

    @staticmethod
    def ends(request: str, message: Message) -> bool:
        """Whether `message` says that the request has been dealt with."""
        mine: bool = message["parent_header"].get("msg_id") == request
        return mine and message["content"].get("execution_state") == "idle"


def waits_of(manager: object) -> Waits | None:
    """Return what tells how long a manager's kernel has waited for a processor, None if nothing does."""
    return getattr(getattr(manager, "provisioner", None), "waits", None)
