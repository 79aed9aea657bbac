"""The unmodified OpenAI SDK against both dialects."""

from __future__ import annotations

import base64
import io

import openai
import pytest
from PIL import Image


def opened(content: str | bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(content) if isinstance(content, str) else content))
    picture.load()
    return picture


async def fetched(simulator, url: str) -> bytes:
    async with simulator.http.get(url) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_gpt_image_answers_base64_with_usage(simulator):
    answer = await simulator.sdk("openai").images.generate(
        model="gpt-image-2", prompt="sunset over mountains", n=2, size="768x512", quality="low", output_format="webp"
    )
    assert [opened(item.b64_json).size for item in answer.data] == [(768, 512)] * 2
    assert answer.data[0].b64_json != answer.data[1].b64_json
    assert answer.data[0].url is None
    assert opened(answer.data[0].b64_json).format == "WEBP"
    assert (answer.size, answer.quality, answer.output_format, answer.background) == (
        "768x512",
        "low",
        "webp",
        "opaque",
    )
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


async def test_transparent_background_has_alpha(simulator):
    answer = await simulator.sdk("openai").images.generate(
        model="gpt-image-1.5", prompt="a rose", size="1024x1024", background="transparent", output_format="png"
    )
    picture = opened(answer.data[0].b64_json)
    assert picture.mode == "RGBA"
    assert picture.getpixel((0, 0))[3] == 0


@pytest.mark.parametrize("form", ["url", "b64_json"])
async def test_dall_e_3_answers_either_form_with_a_revised_prompt(simulator, form):
    answer = await simulator.sdk("openai").images.generate(
        model="dall-e-3", prompt="a lighthouse", response_format=form, size="1024x1024", style="vivid"
    )
    item = answer.data[0]
    content = item.b64_json or await fetched(simulator, item.url)
    assert (item.url is None) == (form == "b64_json")
    assert opened(content).size == (1024, 1024)
    assert item.revised_prompt.startswith("a lighthouse")


@pytest.mark.parametrize("form", ["url", "b64_json"])
async def test_ark_through_the_openai_sdk(simulator, form):
    answer = await simulator.sdk("ark").images.generate(
        model="seedream-3-0-t2i-250415",
        prompt="misty forest",
        size="512x768",
        response_format=form,
        extra_body={"watermark": False, "seed": 5, "guidance_scale": 3.5},
    )
    item = answer.data[0]
    picture = opened(item.b64_json or await fetched(simulator, item.url))
    assert (picture.format, picture.size, item.size) == ("JPEG", (512, 768), "512x768")
    assert answer.usage.generated_images == 1
    assert answer.usage.output_tokens == 512 * 768 // 256


async def test_ark_group_delivers_exactly_max_images(simulator):
    answer = await simulator.sdk("ark").images.generate(
        model="seedream-4-0-250828",
        prompt="four seasons",
        size="1K",
        extra_body={
            "sequential_image_generation": "auto",
            "sequential_image_generation_options": {"max_images": 4},
            "watermark": False,
        },
    )
    assert len({item.url for item in answer.data}) == 4
    assert answer.usage.generated_images == 4


async def test_item_errors_survive_inside_a_200(simulator):
    answer = await simulator.sdk("ark").images.generate(
        model="seedream-4-0-250828",
        prompt="three cats [[sim:partial=2]]",
        extra_body={"sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 3}},
    )
    assert [item.url is None for item in answer.data] == [False, True, False]
    assert answer.data[1].error["code"] == "OutputImageSensitiveContentDetected"
    assert answer.usage.generated_images == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("422", openai.UnprocessableEntityError),
        ("moderated", openai.BadRequestError),
        ("429", openai.RateLimitError),
        ("503", openai.InternalServerError),
        ("lost", openai.APIConnectionError),
    ],
)
@pytest.mark.parametrize("provider", ["ark", "openai"])
async def test_faults_become_the_sdk_s_own_exceptions(simulator, provider, fault, kind):
    model = {"ark": "seedream-4-0-250828", "openai": "gpt-image-2"}[provider]
    with pytest.raises(kind):
        await simulator.sdk(provider).images.generate(model=model, prompt=f"x [[sim:{fault}]]")


async def test_models_are_listed(simulator):
    for provider, known in (("openai", "gpt-image-2"), ("ark", "seedream-4-0-250828")):
        names = [model.id async for model in simulator.sdk(provider).models.list()]
        assert known in names
