"""Texts that clients ask about: judged by the rules of prompts and by OpenAI, with nothing made and nothing refused."""

import pytest

from contracts.judging import Moderate

pytestmark = pytest.mark.connected


async def judged(process, *texts):
    return (await process.submitter._moderation.judge_texts(Moderate(texts=texts))).judgements


def score(judgement, name):
    return next(each.score for each in judgement.categories if each.name == name)


def broken(judgement):
    return [each.name for each in judgement.categories if each.is_broken]


async def test_each_text_is_judged_by_itself(process):
    clean, ours, theirs = await judged(process, "a quiet harbour", "a nude child", "a torture chamber")
    assert (clean.flagged, clean.by, broken(clean)) == (False, None, [])
    assert (ours.flagged, ours.by) == (True, "rules")
    assert (theirs.flagged, theirs.by, broken(theirs)) == (True, "openai", ["violence"])
    assert score(theirs, "violence") > 0.5 > score(clean, "violence")


async def test_without_openai_the_rules_judge_alone(make_process):
    process = await make_process(by_provider="off")
    clean, ours = await judged(process, "a torture chamber", "a nude child")
    assert (clean.flagged, clean.categories) == (False, ())
    assert (ours.flagged, ours.by) == (True, "rules")


async def test_a_judgement_that_is_not_given_is_none_of_innocence(process):
    assert await judged(process, "a boat", "torture [[sim:unjudged=500]]") == ()
