"""What a lax imitation would let pass."""

from __future__ import annotations

import pytest

SEEDREAM_3, SEEDREAM_4, SEEDREAM_45 = "seedream-3-0-t2i-250415", "seedream-4-0-250828", "seedream-4-5-251128"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)

ARK_REFUSED = [
    ({"prompt": None}, "MissingParameter"),
    ({"prompt": ""}, "InvalidParameter"),
    ({"prompt": 5}, "InvalidParameter"),
    ({"n": 1}, "InvalidParameter"),
    ({"quality": "hd"}, "InvalidParameter"),
    ({"style": "vivid"}, "InvalidParameter"),
    ({"size": "511x512"}, "InvalidParameter"),
    ({"size": "2049x2048"}, "InvalidParameter"),
    ({"size": "1K"}, "InvalidParameter"),
    ({"size": "big"}, "InvalidParameter"),
    ({"size": "auto"}, "InvalidParameter"),
    ({"seed": 2**31}, "InvalidParameter"),
    ({"seed": True}, "InvalidParameter"),
    ({"guidance_scale": 0.5}, "InvalidParameter"),
    ({"guidance_scale": 11}, "InvalidParameter"),
    ({"watermark": "false"}, "InvalidParameter"),
    ({"response_format": "b64"}, "InvalidParameter"),
    ({"stream": True}, "InvalidParameter"),
    ({"image": PIXEL}, "InvalidParameter"),
    ({"sequential_image_generation": "auto"}, "InvalidParameter"),
    ({"output_format": "png"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "stream": "true"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "image": "data:image/png;base64,iVBORw0KGgo="}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "image": "http://127.0.0.1:9/x.png"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "512x512"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "8K"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "8192x512", "seed": None}, None),
    ({"model": SEEDREAM_4, "size": "8208x512"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "seed": 1}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "guidance_scale": 3}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "output_format": "jpeg"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "sequential_image_generation": "on"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "optimize_prompt_options": {"mode": "slow"}}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "optimize_prompt_options": {"speed": "fast"}}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "image": ["ftp://x/y.png"]}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "image": "data:image/PNG;base64,AAAA"}, "InvalidParameter"),
    ({"model": SEEDREAM_4, "size": "2K", "image": [PIXEL] * 15}, "InvalidParameter"),
    (
        {
            "model": SEEDREAM_4,
            "size": "2K",
            "sequential_image_generation": "auto",
            "sequential_image_generation_options": {"max_images": 16},
        },
        "InvalidParameter",
    ),
    (
        {
            "model": SEEDREAM_4,
            "size": "2K",
            "image": [PIXEL] * 10,
            "sequential_image_generation": "auto",
            "sequential_image_generation_options": {"max_images": 6},
        },
        "InvalidParameter",
    ),
    ({"model": SEEDREAM_45, "size": "1K"}, "InvalidParameter"),
    ({"model": SEEDREAM_45, "size": "1024x1024"}, "InvalidParameter"),
    ({"model": SEEDREAM_45, "size": "4k"}, None),
    ({"model": SEEDREAM_4, "size": "2K", "image": PIXEL}, None),
    ({"model": "doubao-seedream-4-0-250828", "size": "2K"}, None),
    ({"model": "ep-20251121-abcde", "size": "2K"}, None),
    ({"seed": 7, "guidance_scale": 2.5, "stream": False, "sequential_image_generation": "disabled"}, None),
    ({"image": None, "stream": None, "tools": None, "optimize_prompt": None, "output_format": None}, None),
]

OPENAI_REFUSED = [
    ({"prompt": None}, "missing_required_parameter"),
    ({"model": None}, "missing_required_parameter"),
    ({"watermark": False}, "unknown_parameter"),
    ({"response_format": "url"}, "unknown_parameter"),
    ({"style": "vivid"}, "unknown_parameter"),
    ({"n": 0}, "invalid_value"),
    ({"n": 11}, "invalid_value"),
    ({"n": "1"}, "invalid_type"),
    ({"size": "500x500"}, "invalid_value"),
    ({"size": "4096x1024"}, "invalid_value"),
    ({"size": "1600x512"}, "invalid_value"),
    ({"size": "2K"}, "invalid_value"),
    ({"quality": "hd"}, "invalid_value"),
    ({"output_format": "gif"}, "invalid_value"),
    ({"output_compression": 50}, "invalid_value"),
    ({"background": "transparent", "output_format": "jpeg"}, "invalid_value"),
    ({"stream": "true"}, "invalid_type"),
    ({"stream": True, "partial_images": 4}, "invalid_value"),
    ({"partial_images": 1}, "invalid_value"),
    ({"prompt": "x" * 32_001}, "invalid_value"),
    ({"model": "gpt-image-1-mini", "size": "512x512"}, "invalid_value"),
    ({"model": "dall-e-3", "size": "1024x1024", "n": 2}, "invalid_value"),
    ({"model": "dall-e-3", "size": "512x512"}, "invalid_value"),
    ({"model": "dall-e-3", "size": "1024x1024", "output_format": "png"}, "unknown_parameter"),
    ({"model": "dall-e-2", "size": "1024x1024", "style": "vivid"}, "invalid_value"),
    ({"model": "dall-e-2", "n": 3, "response_format": "url"}, None),
    ({"quality": None, "response_format": None, "stream": False, "user": "u1"}, None),
    ({"output_format": "jpeg", "output_compression": 60, "moderation": "low"}, None),
]


@pytest.mark.parametrize(("change", "code"), ARK_REFUSED)
async def test_ark_bodies(simulator, ark_body, change, code):
    async with simulator.post("ark", ark_body | change) as answer:
        body = await answer.json()
        assert answer.status == (200 if code is None else 400), body
        assert code is None or body["error"]["code"] == code
        assert code is None or set(body["error"]) == {"code", "message", "param", "type"}
        assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize(("change", "code"), OPENAI_REFUSED)
async def test_openai_bodies(simulator, openai_body, change, code):
    async with simulator.post("openai", openai_body | change) as answer:
        body = await answer.json()
        assert answer.status == (200 if code is None else 400), body
        assert code is None or body["error"]["code"] == code
        assert code is None or set(body["error"]) == {"code", "message", "param", "type"}
        assert answer.headers["x-request-id"]
        assert answer.headers["openai-processing-ms"].isdigit()


@pytest.mark.parametrize("provider", ["ark", "openai"])
async def test_key_model_address_and_json_are_needed(simulator, ark_body, openai_body, provider):
    body = {"ark": ark_body, "openai": openai_body}[provider]
    async with simulator.post(provider, body, key=None) as answer:
        assert answer.status == 401
    async with simulator.post(provider, body | {"model": "gpt-image-1"}) as answer:
        assert answer.status == 404
        assert "gpt-image-1" in (await answer.json())["error"]["message"]
    async with simulator.post(provider, ["not an object"]) as answer:
        assert answer.status == 400
    async with simulator.http.post(f"{simulator.url}/{provider}/nowhere") as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["message"]


@pytest.mark.parametrize(
    ("prompt", "wider"), [("a cinematic valley", True), ("a tall tower", False), ("a phone wallpaper", False)]
)
async def test_with_a_tier_the_model_picks_the_aspect(simulator, ark_body, prompt, wider):
    async with simulator.post("ark", ark_body | {"model": SEEDREAM_4, "size": "2k", "prompt": prompt}) as answer:
        width, height = (await answer.json())["data"][0]["size"].split("x")
    assert (int(width) > int(height)) == wider
