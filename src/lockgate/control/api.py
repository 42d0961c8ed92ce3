"""The control API: health, metrics, reviews, live sessions. JSON in, JSON out, errors as problem+json.

Rules: whatever shows a statement or decides one needs the bearer token of somebody in a reviewers'
group, verified as at a log-in; bodies are capped before they are parsed; the reviewer of a request
is never its requester (held by `govern.review`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from lockgate.control.described import ACCEPTANCE, ERASURE, SIGNED_IN, VERDICT, content, errors, sent
from lockgate.control.metrics import exposition, registry
from lockgate.control.ports import Controlled
from lockgate.control.published import read_published
from lockgate.errors import IdentityError, LockgateError
from lockgate.govern.pending import Pending
from lockgate.govern.review import ReviewError
from lockgate.model import Identity, Review, ReviewState

T = TypeVar("T")
BODY_LIMIT = 16_384
_PATIENCE = 15.0
"""Seconds for a token to be verified or a decision to be recorded."""
_STATUS = {
    "review.unknown": 404, "review.closed": 409, "review.busy": 409, "review.expired": 409, "review.self": 403,
    "review.groups": 403, "review.unrecorded": 503,
}

_TOOL_STATUS = {"definition.unknown": 404, "definition.changed": 409}
_ERASURE_STATUS = {
    "audit.forbidden": 403, "audit.held": 409, "audit.nothing": 404, "audit.refused": 409, "audit.admin": 422,
}


class Problem(Exception):
    """An answer that is an error: RFC 9457 problem+json."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class Verdict(BaseModel):
    """The body of a decision."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    comment: str = Field(default="", max_length=2000)


def problem(status: int, code: str, detail: str) -> JSONResponse:
    """problem+json with the stable `code` of the error."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(
        {"type": "about:blank", "status": status, "code": code, "detail": detail}, status,
        headers, media_type="application/problem+json",
    )


def shown(review: Review, now: float) -> dict[str, Any]:
    """A ticket as reviewers see it: enough to decide, nothing else of the session."""
    return {
        "ticket": review.ticket, "state": review.state.value, "statement": review.text,
        "parameters": list(review.parameters), "context": list(review.context), "connection": review.connection,
        "requester": {"issuer": review.requester_issuer, "subject": review.requester_subject,
                      "agent": review.requester_agent},
        "session": review.session, "rules": list(review.rules),
        "reviewer_groups": [list(review.reviewer_groups), *(list(groups) for groups in review.also_groups)],
        "created_at": review.created_at, "expires_at": review.expires_at,
        "age": max(0.0, now - review.created_at), "expires_in": max(0.0, review.expires_at - now),
        "reviewer": review.reviewer_subject, "decided_at": review.decided_at, "comment": review.comment,
        "policy_hash": review.policy_hash,
    }


async def settled(start: Callable[[Callable[[T], None]], None]) -> T:
    """Wait for a callback's value, for a bounded time."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def deliver(value: T) -> None:
        if not future.done():
            future.set_result(value)

    start(deliver)
    try:
        async with asyncio.timeout(_PATIENCE):
            return await future
    except TimeoutError:
        raise Problem(503, "timeout", "no answer in time") from None


async def body_of(request: Request) -> bytes:
    """The body, or 413 as soon as it is too long."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_LIMIT:
            raise Problem(413, "too_large", f"a body has at most {BODY_LIMIT} bytes")
    return bytes(data)


async def verdict_of(request: Request) -> Verdict:
    """The decision's body; an empty one is a decision without a comment."""
    data = await body_of(request)
    if not data:
        return Verdict()
    try:
        return Verdict.model_validate(json.loads(data))
    except (ValueError, ValidationError, RecursionError):
        raise Problem(422, "invalid", 'the body must be JSON like {"comment": "…"}') from None


class Door:
    """Who may come in: verified callers, and those of them who are reviewers."""

    def __init__(self, gateway: Controlled) -> None:
        self._gateway = gateway

    async def caller(self, request: Request) -> Identity:
        """Who asks, by a verified bearer token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem(401, "unauthenticated", "send `Authorization: Bearer <token>` of a trusted provider")

        def start(deliver: Callable[[Identity | Exception], None]) -> None:
            self._gateway.verifier.authenticate(token.strip(), deliver)

        answer: Identity | Exception = await settled(start)
        if isinstance(answer, Identity):
            return answer
        if isinstance(answer, IdentityError):
            raise Problem(401, answer.code, str(answer.args[0]))
        raise Problem(503, "identity.unverifiable", "the token could not be verified")

    async def reviewer(self, request: Request) -> Identity:
        """Who asks, when they are in a group that some rule names as reviewers."""
        identity = await self.caller(request)
        if identity.groups.isdisjoint(self._gateway.reviewer_groups()):
            raise Problem(403, "forbidden", "only members of a reviewers' group may see or decide requests")
        return identity


def create_api(gateway: Controlled) -> FastAPI:
    """The application. It shares the driver's event loop."""
    api = FastAPI(title="Lockgate control API", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")
    door = Door(gateway)
    _install_health(api, gateway)
    _install_reviews(api, gateway, door)
    _install_decisions(api, gateway, door)
    _install_erasures(api, gateway, door)
    _install_log(api, gateway, door)
    _install_tools(api, gateway, door)

    @api.get("/v1/sessions", dependencies=SIGNED_IN, responses=errors(doors=True))
    async def sessions(request: Request) -> Response:
        """Sessions that are open now."""
        await door.reviewer(request)
        return JSONResponse([asdict(session) for session in gateway.live_sessions()])

    _install_errors(api)
    return api


def _install_health(api: FastAPI, gateway: Controlled) -> None:
    metrics = registry(gateway)

    @api.get("/healthz")
    async def healthz() -> Response:
        """The process is alive."""
        return JSONResponse({"status": "ok"})

    @api.get("/readyz", responses=content("application/json", status=503))
    async def readyz() -> Response:
        """Sessions are taken; otherwise 503, with what is in the way."""
        readiness = gateway.readiness()
        return JSONResponse(
            {"status": "ready" if readiness.is_ready else "not ready", "parts": dict(readiness.parts)},
            200 if readiness.is_ready else 503,
        )

    @api.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Prometheus metrics."""
        return Response(exposition(metrics), media_type="text/plain; version=0.0.4; charset=utf-8")


def _install_reviews(api: FastAPI, gateway: Controlled, door: Door) -> None:
    @api.get("/v1/reviews", dependencies=SIGNED_IN, responses=errors(422, doors=True))
    async def list_reviews(
        request: Request,
        state: Literal["pending", "approved", "denied", "expired", "withdrawn", "used", "all"] = "pending",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """Tickets that the caller may decide, newest first."""
        identity = await door.reviewer(request)
        states = tuple(ReviewState) if state == "all" else (ReviewState(state),)
        now = gateway.clock.now()
        found = [shown(review, now) for review in gateway.reviews.list(states=states, limit=limit)
                 if is_visible(review, identity)]
        return JSONResponse(found)

    @api.get("/v1/reviews/{ticket}", dependencies=SIGNED_IN, responses=errors(404, 422, doors=True))
    async def get_review(ticket: str, request: Request) -> Response:
        """One ticket, in whatever state."""
        identity = await door.reviewer(request)
        review = gateway.reviews.get(ticket[:64])
        if review is None or not is_visible(review, identity):
            raise Problem(404, "review.unknown", "there is no such ticket for you")
        return JSONResponse(shown(review, gateway.clock.now()))


def _install_decisions(api: FastAPI, gateway: Controlled, door: Door) -> None:
    async def decide(
        ticket: str, request: Request, how: Callable[[str, Identity, str], Pending[Review | ReviewError]]
    ) -> Response:
        identity = await door.reviewer(request)
        verdict = await verdict_of(request)
        answer = await settled(how(ticket[:64], identity, verdict.comment).then)
        if isinstance(answer, ReviewError):
            raise Problem(_STATUS.get(answer.code, 409), answer.code, str(answer.args[0]))
        return JSONResponse(shown(answer, gateway.clock.now()))

    decision: dict[str, Any] = {
        "dependencies": SIGNED_IN, "openapi_extra": sent(VERDICT, required=False), "responses": errors(404, 409, 413, 422, doors=True)}

    @api.post("/v1/reviews/{ticket}/approve", **decision)
    async def approve(ticket: str, request: Request) -> Response:
        """Let the request through, once."""
        return await decide(ticket, request, gateway.reviews.approve)

    @api.post("/v1/reviews/{ticket}/deny", **decision)
    async def deny(ticket: str, request: Request) -> Response:
        """Refuse the request."""
        return await decide(ticket, request, gateway.reviews.deny)


def _install_tools(api: FastAPI, gateway: Controlled, door: Door) -> None:
    """What backends say of their tools, and reviewers' yes to it."""

    @api.get("/v1/tools/{connection}", dependencies=SIGNED_IN, responses=errors(422, doors=True))
    async def tools(connection: str, request: Request) -> Response:
        """Definitions of a connection's tools: what is accepted, what the backend says now."""
        await door.reviewer(request)
        return JSONResponse(list(gateway.accepting.listed(connection)))

    @api.post("/v1/tools/{connection}/accept", dependencies=SIGNED_IN, openapi_extra=sent(ACCEPTANCE),
              responses=errors(404, 409, 413, 422, doors=True))
    async def accept(connection: str, request: Request) -> Response:
        """Accept one definition: `tool`, and the `digest` of what was looked at."""
        identity = await door.reviewer(request)
        try:
            words = json.loads(await body_of(request))
        except (ValueError, RecursionError):
            words = None
        if not isinstance(words, dict) or not all(isinstance(words.get(name), str) for name in ("tool", "digest")):
            raise Problem(422, "invalid", 'the body must be JSON like {"tool": "…", "digest": "…"}')

        def start(deliver: Callable[[Mapping[str, Any] | LockgateError], None]) -> None:
            gateway.accepting.accept(identity, connection, words["tool"], words["digest"], deliver)

        answer: Mapping[str, Any] | LockgateError = await settled(start)
        if isinstance(answer, LockgateError):
            raise Problem(_TOOL_STATUS.get(answer.code, 503), answer.code, str(answer.args[0]))
        return JSONResponse(dict(answer))


def _install_erasures(api: FastAPI, gateway: Controlled, door: Door) -> None:
    @api.post("/v1/audit/erasures", dependencies=SIGNED_IN, openapi_extra=sent(ERASURE),
              responses=errors(404, 409, 413, 422, doors=True) | content("application/json", status=202))
    async def erase(request: Request) -> Response:
        """Erase payloads of the log, or ask somebody else to approve that: `subject` and perhaps `issuer`, or
        `records` (pairs of first and last index), and a `reason`.
        """
        identity = await door.caller(request)
        try:
            words = json.loads(await body_of(request))
        except (ValueError, RecursionError):
            words = None
        if not isinstance(words, dict):
            raise Problem(422, "invalid", "the body must be a JSON object")
        try:
            answer = await gateway.erasures.ask(identity, words)
        except LockgateError as error:
            raise Problem(_ERASURE_STATUS.get(error.code, 503), error.code, str(error.args[0])) from None
        return JSONResponse(dict(answer), 202 if "ticket" in answer else 200)

    @api.get("/v1/audit/erasures", dependencies=SIGNED_IN, responses=errors(422, doors=True))
    async def erasures(request: Request, ticket: Annotated[str | None, Query(max_length=64)] = None) -> Response:
        """What became of the erasures that the caller asked for, or may approve, oldest first."""
        identity = await door.caller(request)
        try:
            return JSONResponse(await gateway.erasures.requests(identity, ticket))
        except LockgateError as error:
            raise Problem(_ERASURE_STATUS.get(error.code, 503), error.code, str(error.args[0])) from None


def _install_log(api: FastAPI, gateway: Controlled, door: Door) -> None:
    """The published log (C2SP tlog-tiles), for whom `audit.serve` names."""

    async def resource(path: str, request: Request) -> Response:
        published = gateway.published()
        if published.readers == "reviewers":
            await door.reviewer(request)
        found = None
        if published.readers != "off":
            compress = "gzip" in request.headers.get("accept-encoding", "")
            found = await run_in_threadpool(
                read_published, published.folder, path, compress=compress, shared=published.readers == "everyone")
        if found is None:
            raise Problem(404, "log.absent", "the published log has nothing here")
        return Response(found.content, headers=dict(found.headers))

    of_the_log: dict[str, Any] = {"dependencies": SIGNED_IN, "response_class": Response, "responses": {
        **errors(404, 422, doors=True), **content("text/plain", "application/octet-stream")}}

    @api.get("/log/checkpoint", **of_the_log)
    async def checkpoint(request: Request) -> Response:
        """The newest published checkpoint, a signed note."""
        return await resource("checkpoint", request)

    @api.get("/log/cosigned", **of_the_log)
    async def cosigned(request: Request) -> Response:
        """The newest checkpoint that a quorum of witnesses cosigned, once its tree is published."""
        return await resource("cosigned", request)

    @api.get("/log/tile/{path:path}", **of_the_log)
    async def tile(path: str, request: Request) -> Response:
        """One tile or entry bundle."""
        return await resource(f"tile/{path}", request)


def is_visible(review: Review, identity: Identity) -> bool:
    """True where the caller is in a group that the ticket names."""
    named = frozenset(review.reviewer_groups).union(*review.also_groups)
    return not identity.groups.isdisjoint(named)


def _install_errors(api: FastAPI) -> None:
    """Every error is problem+json, and none shows what went wrong inside."""

    @api.exception_handler(Problem)
    async def on_problem(_: Request, error: Problem) -> Response:
        return problem(error.status, error.code, str(error.args[0]))

    @api.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        where = ", ".join(sorted({str(entry["loc"][-1]) for entry in error.errors()}))
        return problem(422, "invalid", f"not understood: {where}")

    @api.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        answer = problem(error.status_code, "http", str(error.detail))
        if error.status_code == 405:        # RFC 9110 section 15.5.6; Starlette names those of one route only
            answer.headers["Allow"] = ", ".join(sorted(
                method for route in api.routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
                for method in route.methods or ()))
        return answer

    @api.exception_handler(LockgateError)
    async def on_failure(_: Request, error: LockgateError) -> Response:
        return problem(503, error.code, "the gateway cannot answer this now; its log says why")
