"""The playbook: how campaigns of each type are usually run. Advice of ours, the same for everybody."""

from gateway.dialects.reelmate.campaign_schemas import Play

PLAYS = (
    Play(
        id="voices-of-customers",
        title="Let customers speak",
        type="ugc-video",
        platforms=["tiktok", "instagram"],
        steps=[
            "Open with the problem, in the first three seconds.",
            "One person, one voice, one claim.",
            "Ask for one thing at the end.",
        ],
        templateCategory="testimonial",
    ),
    Play(
        id="one-script-many-faces",
        title="One script, many faces",
        type="ai-generated",
        platforms=["tiktok", "instagram", "youtube"],
        steps=[
            "Write one script of at most thirty seconds.",
            "Make it with every avatar as one batch.",
            "Keep the one that is watched to its end.",
        ],
        templateCategory="product",
    ),
    Play(
        id="call-for-entries",
        title="Call for entries",
        type="user-submitted",
        platforms=["instagram", "youtube"],
        steps=["Show an example first.", "Name the hashtag twice.", "Say when it ends."],
        templateCategory="education",
    ),
    Play(
        id="series",
        title="A series instead of a film",
        type="branded-content",
        platforms=["youtube", "facebook"],
        steps=["Three short parts on three days.", "The same face in all of them.", "Link each to the one before."],
        templateCategory="product",
    ),
)
