"""One HTTP request of an MCP client: the messages in it, and what is answered to each."""

from __future__ import annotations

from lockgate.model import Operation, Refusal
from lockgate.protocols.http.admission import Admitted
from lockgate.protocols.http.exchange import Exchange
from lockgate.protocols.http.forwarding import Forward
from lockgate.protocols.http.operations import Request
from lockgate.protocols.mcp.jsonrpc import Id, Kind, Message
from lockgate.protocols.mcp.refusals import answer_of
from lockgate.protocols.mcp.shown import Asked, Shown


class McpExchange(Exchange):
    """Mutable, as `Exchange`."""

    __slots__ = (
        "answered_server", "asked", "endpoint", "forward", "is_batch", "is_opened", "messages", "own", "refusal", "session", "shown", "waited")

    def __init__(self, admitted: Admitted, request: Request, operation: Operation, session: bytes) -> None:
        super().__init__(admitted, request, operation)
        self.session = session              # the server's id of it, empty where there is none
        self.messages: list[Message] = []
        self.is_batch = False
        self.asked: dict[tuple[type, Id], Asked] = {}       # what the server is asked for
        self.own: list[bytes] = []                          # the gateway's own answers
        self.refusal: Refusal | None = None                 # of a message that gets no answer
        self.forward: Forward | None = None
        self.is_opened = False              # the client has got the head of a stream of events, while a person was asked
        self.waited = 0                     # how often it was told so
        self.shown: Shown | None = None
        self.endpoint = b""                 # where the older transport's server takes messages, once it has said so
        self.answered_server = 0            # requests of the server that the client did not get

    @property
    def has_requests(self) -> bool:
        """Whether some message wants an answer."""
        return any(message.kind is Kind.REQUEST for message in self.messages)

    @property
    def may_open(self) -> bool:
        """Whether a stream of events can be opened before the server answers. Not for `initialize`, whose answer has a
        field in its head."""
        head = self.request.head
        accepts = b", ".join(head.all(b"accept"))
        return (head.minor > 0 and b"text/event-stream" in accepts.lower() and self.has_requests
                and all(message.method != "initialize" for message in self.messages))

    def answers(self, refusal: Refusal) -> list[bytes]:
        """What every request gets that is not answered yet, where none of them goes on any more."""
        answered = set() if self.shown is None else self.shown.answered
        rest = [message for message in self.messages if message.kind is Kind.REQUEST
                and (type(message.id), message.id) in self.asked and (type(message.id), message.id) not in answered]
        own, self.own = self.own, []
        return own + [answer_of(message.id, message.method, refusal) for message in rest]
