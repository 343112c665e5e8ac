"""Answers that were seen in the trackers of gateways, servers and clients, made anew in small."""

from collections.abc import Mapping
from typing import Any

from tests.support.foreign_answers import B, Row, always, good, kept, linked, picture, said
from tests.support.foreign_images_api import Reply
from tests.support.images_api import png
from tests.support.pictures import mask_file

TRACKERS = (
    *("BerriAI/litellm", "QuantumNous/new-api", "danny-avila/LibreChat", "mudler/LocalAI"),
    *("open-webui/open-webui", "sgl-project/sglang", "vllm-project/vllm-omni"),
)

JUST_A_MOMENT = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"
_NO_TOKENS = {"completion_tokens": 0, "prompt_tokens": 0, "completion_tokens_details": None}
_COSTS = {"prompt_tokens": 0, "completion_tokens": 4175, "cost": 0.06, "is_byok": False}


def failed(message: str, status: int, **others: Any) -> Reply:
    """Return an error of OpenAI's form."""
    return said({"error": {"message": message, **others}}, status)


TRACKED: dict[str, Row] = {
    "no picture, and no tokens": Row(
        always(said({"created": 1, "data": [], "usage": _NO_TOKENS})),
        *("empty_result", 3, "without a picture", "unknown"),
    ),
    "with its costs": Row(
        always(
            said(
                {
                    "created": 0,
                    "data": [{"b64_json": B, "media_type": "image/png"}],
                    "usage": {**_COSTS, "cost_details": {"upstream_inference_cost": 0.06}},
                }
            )
        )
    ),
    "no endpoint for it": Row(
        always(failed("No endpoints found that support the modalities: image", 404, code=404)),
        *("request_rejected", 1, "No endpoints found", "none"),
    ),
    "a model that is not supported": Row(
        always(
            failed(
                "Model not supported with Responses API. Supported models are: ['gpt-image-1']",
                *(400,),
                type="invalid_request_error",
                param=None,
                code=None,
            )
        ),
        *("request_rejected", 1, "Model not supported", "none"),
    ),
    "an operation that is not supported": Row(
        always(
            failed(
                "The chatCompletion operation does not work with the specified model",
                *(400,),
                code="OperationNotSupported",
            )
        ),
        *("request_rejected", 1, "does not work with the specified model", "none"),
    ),
    "a page for browsers, 403": Row(
        always(Reply(JUST_A_MOMENT, "text/html", 403)),
        *("provider_authentication", 1, "Just a moment...", "none"),
    ),
    "a JPEG where a PNG was asked for": Row(always(kept({"b64_json": picture("JPEG")}))),
    "url with a query": Row(linked("/view?filename=a.png&subfolder=&type=output")),
    "url without a suffix": Row(always(kept({"url": "/v1/images/7b1c/content"}))),
    "a list of an address alone": Row(always(said([{"url": "/api/v1/files/7b1c/content"}]))),
    "two lists and a time": Row(
        always(
            said(
                {
                    "images": [{"url": "/files/a.png"}],
                    "timings": {"inference": 1.2},
                    "seed": 7,
                    "data": [{"url": "/files/a.png"}],
                }
            )
        )
    ),
    "not ready yet": Row(always(failed("grpc service not ready", 500, code=500), good()), calls=2),
    "a backend that cannot": Row(
        always(failed("rpc error: code = Unknown desc = unimplemented", 500, code=500, type="")),
        *("provider_unavailable", 3, "unimplemented", "unknown"),
    ),
    "a server that is sorry": Row(
        always(failed("The server had an error while processing your request.", 500), good()),
        calls=2,
    ),
    "one picture, whatever was asked for": Row(always(good()), n=2, calls=2),
    "a sentence with a line end": Row(
        always(said({"detail": "Image size 9x9 exceeds the maximum allowed size.\n"}, 400)),
        *("request_rejected", 1, "exceeds the maximum allowed size", "none"),
    ),
}
"""Answers to a request for no stream, besides those of `foreign_answers.WHOLE`."""

ONE, TWO, THREE = (png(60, 40, shade) for shade in (20, 120, 220))
MASK = mask_file((60, 40))

FORMS: Mapping[str, list[tuple[str, bytes]]] = {
    "curl": [("image", ONE), ("mask", MASK)],
    "SDK": [("image[]", ONE), ("image[]", TWO), ("image[]", THREE)],
    "a list of one": [("image[]", ONE), ("mask[]", MASK)],
    "one name again": [("image", ONE), ("image", TWO), ("mask", MASK)],
    "counted": [("image[0]", ONE), ("image[1]", TWO)],
    "untyped": [("mask", MASK), ("image", ONE)],
}
"""Fields and files of `/v1/images/edits`; those of `untyped` are `application/octet-stream`."""

SEEN_IN: Mapping[str, tuple[str, ...]] = {
    "BerriAI/litellm#6643": ("content filter",),
    "BerriAI/litellm#10314": ("SDK",),
    "BerriAI/litellm#10501": ("unknown response_format", "no picture, and no tokens"),
    "BerriAI/litellm#10760": ("unknown response_format",),
    "BerriAI/litellm#12408": ("unknown response_format",),
    "BerriAI/litellm#13528": ("curl",),
    "BerriAI/litellm#20050": ("unknown n",),
    "BerriAI/litellm#23709": ("a model that is not supported",),
    "BerriAI/litellm#27755": ("a page for browsers, 403",),
    "BerriAI/litellm#34908": ("with its costs", "no endpoint for it"),
    "BerriAI/litellm#39512": ("a list of one",),
    "BerriAI/litellm#40074": ("one of three never comes", "error in an error"),
    "QuantumNous/new-api#2036": ("two lists and a time",),
    "QuantumNous/new-api#4478": ("a stream typed as JSON",),
    "QuantumNous/new-api#4920": ("page of a proxy, 524",),
    "QuantumNous/new-api#5089": ("no picture",),
    "danny-avila/LibreChat#9427": ("an operation that is not supported",),
    "danny-avila/LibreChat#12786": ("a server that is sorry",),
    "danny-avila/LibreChat#15439": ("url is relative",),
    "mudler/LocalAI#1909": ("a backend that cannot",),
    "mudler/LocalAI#2430": ("data prefix",),  # of 64 x 48, as all of them, where more was asked for
    "mudler/LocalAI#3017": ("not ready yet",),
    "mudler/LocalAI#5094": ("page of a proxy, 502",),
    "open-webui/open-webui#8209": ("url is relative",),
    "open-webui/open-webui#25095": ("url with a query", "file under another name"),
    "open-webui/open-webui#29948": ("a JPEG where a PNG was asked for",),
    "sgl-project/sglang#19360": ("url without a suffix",),
    "vllm-project/vllm-omni#2082": ("one picture, whatever was asked for",),
    "vllm-project/vllm-omni#3381": ("a sentence with a line end",),
    # Of others that speak the same API.
    "CherryHQ/cherry-studio#14579": ("unknown response_format",),
    "Laisky/one-api#278": ("unknown size",),
    "MODSetter/SurfSense#1496": ("url is a path on a disk",),
    "chatboxai/chatbox#2937": ("page of a proxy, 524",),
    "gpustack/gpustack#3214": ("data prefix",),
    "nextcloud/integration_openai#290": ("url is relative", "numbers that are none"),
    "nextcloud/integration_openai#314": ("a list of an address alone",),
    "openai/openai-node#1468": ("untyped",),
    "stdapi-ai/stdapi.ai#84": ("a whole answer",),
    "vercel/ai#6102": ("unknown response_format",),
    "yym68686/uni-api#165": ("unknown response_format",),
}
"""Threads on GitHub, and the rows that act out what was seen there."""
