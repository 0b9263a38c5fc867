"""The artifact behind a bare grpc.aio handler: no batches; one thread renders, others encode.

It answers the one call of nonesuch.v1 that the load makes, so that the client and the bytes on the wire are the same as
for `nonesuch serve`, and what differs is what stands behind them.
"""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from renderer import Renderer, Settings, encode  # type: ignore[import-not-found]

from nonesuch.v1 import generation_service_pb2, image_pb2

SERVICE = "nonesuch.v1.GenerationService"


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    renderer = Renderer(settings)
    # One run at a time: runs side by side would share the same cores and each hold a run's memory.
    executor = ThreadPoolExecutor(1)

    async def generate(request: Any, _: object) -> Any:
        images = await asyncio.get_running_loop().run_in_executor(executor, renderer.images, [request.source.seed])
        data = await asyncio.to_thread(encode, images[0])
        image = image_pb2.Image(data=data, format=image_pb2.IMAGE_FORMAT_JPEG)
        return generation_service_pb2.GenerateResponse(image=image)

    handler = grpc.unary_unary_rpc_method_handler(  # type: ignore[var-annotated, unused-ignore]
        generate,  # type: ignore[arg-type, unused-ignore]
        request_deserializer=generation_service_pb2.GenerateRequest.FromString,
        response_serializer=generation_service_pb2.GenerateResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Generate": handler}),))
    server.add_insecure_port(f"127.0.0.1:{settings.port}")
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop(grace=1)


if __name__ == "__main__":
    asyncio.run(serve(Settings.read()))
