"""Records the answers to a fixed list of requests over all protocols, to show that a change keeps every byte.

    python tests/recorded_requests.py record before.json              starts a server and writes one entry per request
    python tests/recorded_requests.py compare before.json after.json  names the answers that differ; exit 1 if any does

The server is the `nonesuch` command beside this Python; of the program only the protobuf messages are imported. An
entry has the answer as text, with hashes of images and tensors. It omits what differs between runs: times, batch sizes,
memory, dates, lengths of bodies, and random seeds. A request is one line, which is also its name. NONESUCH_TEST_HOME is
a folder that keeps the download of the default model.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np

from nonesuch.oip import open_inference_service_pb2 as oip
from nonesuch.v1 import admin_service_pb2, generation_service_pb2, model_service_pb2

Facts = dict[str, Any]
Message = dict[str, Any]

FIXTURES = Path(__file__).parent / "fixtures"
HEADERS = {"x-request-id": "recorded", "accept-encoding": "identity"}
SECONDS = 120  # limit of one answer
UNBOUNDED: list[tuple[str, Any]] = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
# By name: the export's source, the sizes of its latents, and its options; the first is the server's default.
MODELS: dict[str, tuple[str, dict[str, int], list[str]]] = {
    "faces": ("faces", {"z": 512, "w": 512, "ws": 23 * 512}, []),
    "plain": ("rosinality_64.pt", {"z": 32, "w": 32, "ws": 10 * 32}, []),
    "classes": ("sg2ada_cond_32.pkl", {"z": 48, "w": 64, "ws": 8 * 64}, []),
    "moving": ("sg3t_64.pkl", {"z": 64, "w": 64, "ws": 16 * 64}, []),
    "noisy": ("rosinality_64.pt", {"z": 32, "w": 32, "ws": 10 * 32}, ["--noise-mode", "random"]),
}

# Requests by their method, a semicolon between them; {a|b} is two requests, one with a and one with b. `message_of`
# reads the words of a line, `infer_of` those of ModelInfer. Invalid requests come last.
GRPC = {
    "Generate": """
plain {seed|z|w|ws}:1; plain seed:{0|4294967295}; plain z:2 psi=1; plain w:2 psi=0.5; plain ws:4 psi=0.5 cutoff=2
plain seed:2 format={JPEG|PNG|WEBP|RAW|NPY}; plain seed:3 quality={1|100}; plain seed:3 format=WEBP quality=50
plain seed:3 format=PNG size={1|16}; plain seed:3 format=RAW size=8; plain seed:3 size=64; plain seed:4 noise=CONST
plain seed:4 psi={0|-0.5|2|-2}; plain seed:4 psi=1 cutoff=3; plain seed:4 cutoff={0|10}; plain z:5 mix=MIDDLE:w:6
plain seed:5 mix={COARSE|MIDDLE|FINE}:seed:6; plain seed:5 mix=COARSE:z:6 psi=0.5; plain w:5 mix=FINE:ws:6 format=PNG
plain seed:5 mix=0,1,2:{seed|z|w|ws}:7; plain ws:5 mix=3,3,4:w:7 psi=0.6 cutoff=4
plain seed:6 priority={BULK|INTERACTIVE}; plain seed:5 mix=COARSE:seed:6 mix=FINE:z:7 mix=4:w:8 format=PNG
classes seed:1 class={0|4}; classes z:1 class=2; classes {w|ws}:1; classes w:1 class=3
classes seed:2 class=1 mix=COARSE:seed:3 psi=0.4 cutoff=3 size=16 format=WEBP; moving {seed|z|w|ws}:1
moving seed:1 move={0.25,0,0|0,-0.5,0|0,0,30|0,0,0}; moving seed:2 mix=FINE:seed:3
moving seed:2 mix=0,1,15:w:3 move=0.3,0,10 psi=0.5; noisy {seed|z|w}:1; noisy seed:2 format=PNG
noisy seed:1 noise=RANDOM; noisy seed:1 mix=FINE:seed:2; default seed:1; faces seed:1 psi=1 format=PNG
faces z:1 size=256; faces w:1 format=WEBP; faces ws:1 format=RAW size=512; faces seed:2 format=RAW
faces seed:2 mix=COARSE:seed:3 size=512; faces seed:2 mix=MIDDLE:z:3 mix=FINE:seed:4 quality=50
faces seed:2 mix=0,21:w:3 format=NPY size=64; faces seed:3 psi=-0.7 cutoff=8 priority=BULK
plain z:1/5; plain w:1/33; plain seed:1 psi=9; nobody seed:1; plain seed:1 format=9; plain seed:1 format=PNG quality=50
plain seed:1 size=48; plain seed:4 cutoff=11; classes seed:1{| class=5}; plain seed:1 move=0,0,1
plain seed:1 noise=RANDOM; plain seed:1 mix=COARSE,1:seed:2; plain seed:1 mix=10:seed:2; plain seed:1 mix=1:z:2/4
""",
    "GenerateStream": """
plain sources=seed:1; plain sources=seed:1,seed:2,seed:3 format=PNG; plain sources=z:1,z:2; plain range=4294967294,2
plain sources=w:1,ws:2 format=RAW; plain sources=seed:1,z:2,w:3,ws:4,seed:1 psi=0.6 size=32; plain range=5,9 format=PNG
plain range=0,3 mix=FINE:seed:9 cutoff=2 priority=INTERACTIVE; classes range=0,4 class=3; classes sources=w:1,w:2
moving range=1,3 move=0,0.1,90 format=WEBP; noisy range=1,4 format=RAW; default range=7,2 size=128
faces sources=z:1,ws:2
plain; plain range=0,2000; plain range=1,2 sources=seed:1; plain sources=seed:1,z:2/3
""",
    "Walk": """
plain keys=seed:1,seed:2 frames=3; plain keys=seed:1,z:2,w:3 frames=2 format=PNG
classes keys=seed:1,seed:2 frames=2 class=2; plain keys=w:1,w:2 frames=2 way=LINEAR_W
plain keys=seed:1,z:2 frames=3 way=SPHERICAL_Z format=RAW; plain keys=seed:1,seed:2,seed:3 frames=2 closed=yes size=16
plain keys=z:1,z:2 frames=2 way=SPHERICAL_Z closed=yes psi=0.5; plain keys=seed:1,seed:2 frames=1 mix=COARSE:seed:3
moving keys=w:1,seed:2 frames=2 move=0,0,20; noisy keys=seed:1,seed:2 frames=2
faces keys=seed:1,seed:2 frames=1 size=256
plain keys=seed:1 frames=2; plain keys=seed:1,seed:2 frames=2000; plain keys=w:1,w:2 frames=2 way=SPHERICAL_Z
""",
    "ModelInfer": """
plain seed:1,2,3{| typed}; plain z:1,2{| typed}; plain w:1{| typed}; plain ws:1,2{| typed}; classes seed:1 class_index=1
classes z:1 class_index='2'; classes w:1,2; moving {seed|ws}:1; noisy {seed|w}:1,2; plain seed:1,2,3,4,5,6,7,8 size=8
plain seed:1 type={INT32|UINT8}; plain seed:1 type={INT64|UINT32} typed; plain seed:1,2 column; faces w:1 size=256
plain seed:1 out=image_fp32; plain seed:1 out=image_fp32 typed size='16'; plain seed:1 out=image,image_fp32
plain seed:1,2 out=encoded{| typed}; plain seed:1 out=encoded format={webp|jpeg} quality=70; plain seed:1 psi=0.5
faces seed:1; plain seed:1 out=encoded format={png|raw|npy}; plain seed:1 psi='-1' cutoff='3'
plain seed:1 psi=1 cutoff=2 id=request-7; plain seed:1 noise_mode=const priority=bulk timeout=5
faces seed:1,2 out=encoded format=png psi=0.5
nobody seed:1; plain seed:-1 type=INT32; plain z:1/5; plain seed:1,2,3,4,5,6,7,8,9; plain seed:1 psi={9|high}; plain y:1
plain seed:1 colour=red; plain seed:1 out=picture; plain seed:1 format=png; plain seed:1 type=FP16
plain seed:1 version=1
""",
    "ListModels": "{}",
    "GetModel": '{}; {"name": "moving"}; {"name": "classes"}; {"name": "nobody"}',
    "ServerLive": "{}",
    "ServerReady": "{}",
    "ServerMetadata": "{}",
    "ModelMetadata": '{"name": "faces"}; {"name": "classes"}; {"name": "nobody"}',
    "ModelReady": '{"name": "plain"}; {"name": "nobody"}; {"name": "plain", "version": "1"}',
}
GENERATE = "/nonesuch.v1.GenerationService/Generate"
BYTES: list[tuple[str, bytes]] = [
    *(("/grpc.health.v1.Health/Check", name) for name in (b"", b"\n\x1dnonesuch.v1.GenerationService", b"\n\x01x")),
    *((GENERATE, content) for content in (b"\xff\xff", bytes(2 << 20))),
    ("/nonesuch.v1.GenerationService/Nothing", b""),
]
# Each redirects to the picture, which is requested too, and then again with its ETag.
PICTURES = """
/face/1.jpg; /face/1.png?psi=0.5&size=256; /face/2.webp?mix=3:coarse&mix=4:fine&quality=50; /face/1.png?model=moving
/face/1.jpg?model=plain; /face/1.jpeg?model=plain&psi=-1; /face/1.png?model=plain&size=16
/face/3.webp?model=plain&quality=20; /face/1.jpg?model=classes&class=2
/face/5.jpg?model=plain&mix=6:middle&psi=0.30&priority=bulk; /face/7.jpg?model=noisy&psi=1
"""
PAGES = """
GET /?seed=42{|&psi=0.5&model=plain&utm=x|&mix=2:fine| Accept-Encoding=gzip}; {GET|HEAD} /docs; HEAD /?seed=42
GET /docs Accept-Encoding=gzip; GET /docs If-None-Match=*; GET /{style.css|app.js|icon.svg}; GET /style.css?v=old
GET /style.css Accept-Encoding=gzip; GET /app.js If-None-Match=*; HEAD /style.css; HEAD /face/1.jpg; GET /face/42.json
GET /face/42.json?model=plain&psi=0.5&size=8; GET /{models|openapi.json|healthz|readyz|metrics}; HEAD /healthz
GET /{|face|next}; GET /face?format=png&psi=0.5&model=plain; GET /next?model=plain&size=32
GET /face/{x.jpg|1.gif|faces/1.jpg}; GET /face/1.jpg?{psi=9|model=nobody|colour=red|mix=2:all|size=48}; GET /?seed=x
GET /face/faces@00000000/1.jpg; GET /nothing; POST /face/1.jpg; GET /metrics X-Forwarded-For=1.2.3.4; GET %s
"""
CONNECT = """
Generate plain seed:1; Generate classes z:1 class=2 format=PNG mix=COARSE:w:2; Generate moving ws:1 move=0.1,0,5 size=16
Generate default seed:1 size=256; GenerateStream plain sources=seed:1,z:2,ws:3 format=PNG; ListModels {}
Walk plain keys=seed:1,seed:2 frames=2 way=SPHERICAL_Z; Generate plain seed:1 psi=9; GenerateStream plain
"""
BODIES: list[tuple[str, str, bytes]] = [
    *(("Generate", "json", content) for content in (b"{", b'{"colour": "red"}', b'{"source": {"seed": -1}}')),
    *(("Generate", kind, b"\xff\xff") for kind in ("proto", "grpc-web+proto", "xml")),
    ("Walk", "connect+json", b"\xff\xff"),
]
# These come last, because they load and unload models.
ADMIN = """
ListModelStates {}; LoadModel {"name": "plain"}; LoadModel {"name": "nobody"}; ReloadModel {"name": "noisy"}
UnloadModel {"name": "noisy"}; Generate noisy seed:1; ModelReady {"name": "noisy"}; ListModelStates {}
LoadModel {"name": "noisy"}; Generate noisy seed:1
"""


def lines(table: str) -> Iterator[str]:
    for line in re.split(r"\n|; ", table.strip()):
        parts = re.split(r"({[^{}]*\|[^{}]*})", line)
        yield from map("".join, product(*(part[1:-1].split("|") if "|" in part else [part] for part in parts)))


def latent(model: str, kind: str, number: str) -> list[float]:
    """Values of z, w or ws; 1/5 are 5 values, whatever the model takes."""
    number, _, count = number.partition("/")
    fitting = MODELS["faces" if model == "default" else model][1].get(kind, 1)
    values: list[float] = np.random.RandomState(int(number)).randn(int(count or fitting)).astype(np.float32).tolist()
    return values


def source(model: str, text: str) -> Message:
    kind, _, number = text.partition(":")
    return {"seed": int(number)} if kind == "seed" else {kind[0]: {"values": latent(model, kind, number)}}


def mix(model: str, text: str) -> Message:
    """Layers, a group or both; then a source."""
    where, _, origin = text.partition(":")
    mixing: Message = {"source": source(model, origin), "layers": []}
    for word in where.split(","):
        if word.isdigit():
            mixing["layers"].append(int(word))
        else:
            mixing["group"] = f"LAYER_GROUP_{word}"
    return mixing


def enum(prefix: str) -> Callable[[str], str | int]:
    return lambda text: int(text) if text.isdigit() else f"{prefix}_{text}"


def fields(kind: type, *names: str) -> Callable[[str], Message]:
    return lambda text: dict(zip(names, map(kind, text.split(",")), strict=True))


# A word of a line: its message, its field, and the function that parses its text.
WORDS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "psi": ("synthesis", "psi", float),
    "cutoff": ("synthesis", "cutoff", int),
    "class": ("synthesis", "class_index", int),
    "noise": ("synthesis", "noise_mode", enum("NOISE_MODE")),
    "move": ("synthesis", "transform", fields(float, "translate_x", "translate_y", "rotate_degrees")),
    "format": ("image", "format", enum("IMAGE_FORMAT")),
    "quality": ("image", "quality", int),
    "size": ("image", "size", int),
    "priority": ("", "priority", enum("PRIORITY")),
    "range": ("", "seed_range", fields(int, "first", "count")),
    "frames": ("", "frames_per_step", int),
    "way": ("", "interpolation", enum("INTERPOLATION")),
    "closed": ("", "closed", bool),
}


def message_of(line: str) -> Message:
    """A message: MODEL WORD ..., or its JSON."""
    if line.startswith("{"):
        return dict(json.loads(line))
    model, *words = line.split()
    message: Message = {} if model == "default" else {"model": model}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            message["source"] = source(model, word)
        elif name in {"sources", "keys"}:
            message["keyframes" if name == "keys" else name] = [source(model, one) for one in text.split(",")]
        elif name == "mix":
            message.setdefault("synthesis", {}).setdefault("mixing", []).append(mix(model, text))
        else:
            where, field, read = WORDS[name]
            (message.setdefault(where, {}) if where else message)[field] = read(text)
    return message


def infer_of(line: str) -> Message:
    """A message of ModelInfer: MODEL KIND:ROW,ROW WORD ...; unknown words are parameters."""
    model, rows, *words = line.split()
    kind, numbers = rows.split(":")
    told = {name: text or "yes" for name, _, text in (word.partition("=") for word in words)}
    datatype = told.pop("type", "UINT64" if kind == "seed" else "FP32")
    drawn = [int(one) if kind == "seed" else latent(model, kind, one) for one in numbers.split(",")]
    array = np.array(drawn).astype(datatype.lower().replace("fp", "float"))
    width = MODELS["plain" if model == "nobody" else model][1]["w"]
    sides = (-1, width) if kind == "ws" else (1,) if told.pop("column", "") else array.shape[1:]
    tensor: Message = {"name": kind, "datatype": datatype, "shape": array.reshape(len(array), *sides).shape}
    message: Message = {"model_name": model, "inputs": [tensor]}
    if told.pop("typed", ""):
        contents = {"UINT32": "uint", "INT32": "int"}.get(datatype, datatype.lower())
        tensor["contents"] = {f"{contents}_contents": array.ravel().tolist()}
    else:
        message["raw_input_contents"] = [array.tobytes()]
    message["outputs"] = [{"name": name} for name in told.pop("out", "").split(",") if name]
    message |= {"id": told.pop("id", ""), "model_version": told.pop("version", "")}
    return message | {"parameters": {name: parameter(text) for name, text in told.items()}}


def parameter(text: str) -> Any:
    """0.5 is a number, '0.5' and high are texts."""
    value: Any = text
    with suppress(ValueError, SyntaxError):
        value = ast.literal_eval(text)
    return oip.InferParameter(**{{int: "int64_param", float: "double_param", str: "string_param"}[type(value)]: value})


# Of messages as text or JSON, of headers, and of the page of metrics.
BLANKED = [
    (re.compile(r'"?\b(timing|batch|runTimes|run_times)"?:? ?(?:{[^{}]*}|\[[^\]]*\])(?:\s*\1 {[^{}]*})*'), r"\1 ..."),
    (re.compile(r"(\bdur=|\bmemory_bytes: |^content-length: )[0-9.]+"), r"\1..."),
    (re.compile(r"^date: .*"), "date: ..."),
    (re.compile(r"^\w+({.*})? [0-9.e+-]+\n", re.MULTILINE), ""),
]
LONG = re.compile(r'(?<=")(?:[ !#-\[\]-~]|\\.){600,}+(?=")')
READABLE = 50_000


def clear(data: str | bytes) -> str:
    """A text without varying parts, with hashes for long values; a hash if the bytes are not text."""
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError:
        return hashed(data)
    for pattern, instead in BLANKED:
        text = pattern.sub(instead, text)
    text = LONG.sub(lambda found: hashed(unquoted(found[0])), text)
    return text if len(text) < READABLE else f"{text[:1000]} and so on: {hashed(text)}"


def unquoted(text: str) -> bytes:
    """The bytes behind a long value: base64 in JSON, with escapes in the text of a message."""
    with suppress(ValueError):
        return base64.b64decode(text, validate=True)
    return text.encode().decode("unicode_escape").encode("latin-1", "backslashreplace")


def hashed(data: str | bytes) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return f"{len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()}"


class Method(NamedTuple):
    """A method of a service."""

    path: str
    request: Any
    response: Any
    streams: bool

    def write(self, message: Message) -> bytes:
        return bytes(self.request(**message).SerializeToString())

    def read(self, data: bytes) -> str:
        return clear(str(self.response.FromString(data)))

    def in_order(self, answers: list[str]) -> list[str]:
        """The images of GenerateStream come as they are ready, those of all others in order."""
        index = re.compile(r'^\{?"?index"?: (\d+)')
        ready = sorted(answers, key=lambda text: int(found[1]) if (found := index.match(text)) else 0)
        return ready if self.path.endswith("/GenerateStream") else answers


METHODS = {
    method.name: Method(
        f"/{service.full_name}/{method.name}",
        getattr(module, method.input_type.name),
        getattr(module, method.output_type.name),
        method.server_streaming,
    )
    for module in (generation_service_pb2, model_service_pb2, admin_service_pb2, oip)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@dataclass(frozen=True)
class Server:
    """A running server: channels to its gRPC and admin ports, and a client of its HTTP address."""

    main: grpc.Channel
    admin: grpc.Channel
    web: httpx.Client

    def call(self, path: str, request: bytes, method: Method | None = None) -> Facts:
        """A call over gRPC; a unary call is a stream of one answer."""
        channel: Any = self.admin if "/nonesuch.v1.AdminService/" in path else self.main
        call = channel.unary_stream(path)(request, metadata=[("x-request-id", "recorded")], timeout=SECONDS)
        answers: list[str] = []
        with suppress(grpc.RpcError):
            answers.extend(method.read(data) if method else data.hex() for data in call)
        return {
            "ok": call.code() is grpc.StatusCode.OK,
            "code": call.code().name,
            "details": call.details(),
            "metadata": [f"{key}: {value!r}" for key, value in call.trailing_metadata() or ()],
            "answers": method.in_order(answers) if method else answers,
        }

    def ask(self, line: str) -> Facts:
        """A call over gRPC: METHOD and its message."""
        name, _, text = line.partition(" ")
        message = infer_of(text) if name == "ModelInfer" else message_of(text)
        return self.call(METHODS[name].path, METHODS[name].write(message), METHODS[name])

    def send(self, http_method: str, path: str, headers: dict[str, str], content: bytes = b"") -> tuple[Facts, bytes]:
        """A request over HTTP: the head and the body of the answer."""
        with self.web.stream(http_method, path, headers=headers, content=content or None) as response:
            body = b"".join(response.iter_raw())
            head = [clear(name.lower() + b": " + value) for name, value in response.headers.raw]
            return {"ok": response.status_code < 400, "status": response.status_code, "headers": head}, body

    def page(self, line: str) -> Facts:
        """A request over HTTP: METHOD PATH HEADER=VALUE ..."""
        http_method, path, *words = line.split()
        facts, body = self.send(http_method, path, dict(word.split("=", 1) for word in words))
        text = json.dumps({**facts, "body": clear(body)})
        if re.match(r"/(face|next)?(\?|$)", path) and "seed=" not in path:  # a random face
            seed = re.search(r"/(\d+)\.(?:jpg|png)\?", text)
            text = re.sub(rf"\b{seed[1]}\b", "SEED", text) if seed else text
        return dict(json.loads(text))

    def picture(self, path: str) -> Iterator[tuple[str, Facts]]:
        """A picture's short address, the picture at its permanent one, and the answer to its ETag."""
        facts = self.page(f"GET {path}")
        yield f"http GET {path}", facts
        lasting = header(facts, "location") or path
        facts = self.page(f"GET {lasting}")
        yield f"http GET {path}, the picture", facts
        yield f"http GET {path}, known", self.page(f"GET {lasting} If-None-Match={header(facts, 'etag')}")

    def post(self, method: Method, kind: str, content: bytes) -> Facts:
        """A call over Connect or gRPC-Web."""
        facts, body = self.send("POST", method.path, {"content-type": f"application/{kind}"}, content)
        answered = header(facts, "content-type")
        framed = answered.startswith(("application/connect+", "application/grpc-web"))
        frames = list(unframed(body)) if framed else [(0, body)]
        read: Callable[[bytes], str] = clear if "json" in answered else method.read
        end = "".join(clear(data) for flags, data in frames if flags & 0x82)
        failed = '"error"' in end or re.search(r"grpc-status: ?[1-9]", "\n".join([end, *facts["headers"]]))
        answers = method.in_order([read(data) for flags, data in frames if not flags & 0x82])
        return {**facts, "ok": facts["ok"] and not failed, "answers": answers, "end": end}

    def connect(self, line: str) -> Iterator[tuple[str, Facts]]:
        """The same call over Connect and gRPC-Web, in JSON and in protobuf's bytes."""
        name, _, text = line.partition(" ")
        method, message = METHODS[name], message_of(text)
        for kind in ("json", "proto", "grpc-web+proto"):
            data = json.dumps(message).encode() if kind == "json" else method.write(message)
            frame = struct.pack(">BI", 0, len(data)) if method.streams or "grpc" in kind else b""
            full = f"connect+{kind}" if method.streams and "grpc" not in kind else kind
            yield f"{full} {line}", self.post(method, full, frame + data)


def header(facts: Facts, name: str) -> str:
    return next((line.partition(": ")[2] for line in facts["headers"] if line.startswith(f"{name}: ")), "")


def unframed(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        yield flags, body[5 : 5 + length]
        body = body[5 + length :]


def answers(server: Server) -> Iterator[tuple[str, Facts]]:
    """The name and the answer of each request."""
    for method, table in GRPC.items():
        for line in lines(table):
            yield f"grpc {method} {line}", server.ask(f"{method} {line}")
    for path, content in BYTES:
        yield f"grpc {path} {content[:40]!r}", server.call(path, content)
    for line in lines(PAGES % GENERATE):
        yield f"http {line}", server.page(line)
    for path in lines(PICTURES):
        yield from server.picture(path)
    for path in re.findall(r"/[a-z.]+\?v=\w+", server.page("GET /?seed=1")["body"]):
        yield f"http GET {path.partition('=')[0]} of the page", server.page(f"GET {path}")
    for line in lines(CONNECT):
        yield from server.connect(line)
    for method, kind, content in BODIES:
        yield f"{kind} {method} {content!r}", server.post(METHODS[method], kind, content)
    for line in lines(ADMIN):
        yield f"grpc admin: {line}", server.ask(line)


@contextmanager
def served() -> Iterator[Server]:
    """A server with all models, which are exported first."""
    program = str(Path(sys.executable).with_name("nonesuch"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NONESUCH_")}
    with tempfile.TemporaryDirectory() as folder:
        environment["NONESUCH_HOME"] = os.environ.get("NONESUCH_TEST_HOME", f"{folder}/home")
        # One backend with fixed threads, so that bytes do not depend on the tuning; no faces rendered ahead.
        config = 'grpc = "127.0.0.1:0"\nhttp = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\nhttp_ready_faces = 0\n'
        for name, (origin, _, options) in MODELS.items():
            what = [origin] if origin == name else [str(FIXTURES / origin), "--name", name]
            command = [program, "export", *what, "--out", f"{folder}/{name}", *options]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            config += f'[[models]]\nmodel = {json.dumps(f"{folder}/{name}")}\nname = "{name}"\n'
            config += 'backend = "onnxruntime"\nthreads = 2\nlanes = 1\n'
        file = Path(folder, "server.toml")
        file.write_text(f'log_level = "error"\n{config}')
        command = [program, "serve", "--config", str(file)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                said = dict(line.strip().split(maxsplit=1) for line in until_ready(process.stdout or ()))
                main, admin = (grpc.insecure_channel(said[name], UNBOUNDED) for name in ("gRPC", "admin"))
                with main, admin, httpx.Client(base_url=said["web"], timeout=SECONDS, headers=HEADERS) as web:
                    yield Server(main, admin, web)
            finally:
                process.terminate()


def until_ready(output: Iterable[str]) -> Iterator[str]:
    """The output of a server until it is ready: its addresses."""
    for line in output:
        if line.startswith("try "):
            return
        yield line
    raise SystemExit("the server ended before it was ready")


def record(file: Path) -> None:
    entries: dict[str, Facts] = {}
    with served() as server:
        for name, facts in answers(server):
            unique = next(one for one in (name, f"{name} (again)") if one not in entries)
            entries[unique] = {"kind": "ok" if facts.pop("ok") else "error", "answer": facts}
    file.write_text(json.dumps([{"name": name, **entry} for name, entry in entries.items()], indent=1) + "\n")
    good = sum(entry["kind"] == "ok" for entry in entries.values())
    print(f"{file}: {good} answers and {len(entries) - good} errors")


def compare(before: Path, after: Path) -> int:
    a, b = ({entry["name"]: entry for entry in json.loads(file.read_text())} for file in (before, after))
    different = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    for name in different:
        one, other = (json.dumps(entries.get(name, "is not there")) for entries in (a, b))
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
        start = max(same - 40, 0)
        print(f"{name}: ...{one[start : same + 80]}... became ...{other[start : same + 80]}...")
    if not different:
        print(f"{len(a)} answers are the same")
    return int(bool(different))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", file]:
            record(Path(file))
        case ["compare", before, after]:
            sys.exit(compare(Path(before), Path(after)))
        case _:
            sys.exit(__doc__)
