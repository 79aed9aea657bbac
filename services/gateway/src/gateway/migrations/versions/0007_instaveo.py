"""What the instaveo frontend keeps beside a generation: videos, reactions, views, creators, the ranking of its feed."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # The id is a generation's, written in one transaction with it. Counters are not indexed and pages have room, so that
    # a hot video's row is changed in place.
    op.execute("""
        CREATE TABLE instaveo_videos (
            id uuid CONSTRAINT pk_instaveo_videos PRIMARY KEY,
            user_id uuid NOT NULL,
            source_video_id uuid,
            is_published boolean NOT NULL,
            likes integer NOT NULL DEFAULT 0 CONSTRAINT ck_instaveo_videos_likes CHECK (likes >= 0),
            dislikes integer NOT NULL DEFAULT 0 CONSTRAINT ck_instaveo_videos_dislikes CHECK (dislikes >= 0),
            views bigint NOT NULL DEFAULT 0 CONSTRAINT ck_instaveo_videos_views CHECK (views >= 0),
            ranking_score double precision NOT NULL DEFAULT 0,
            is_live boolean NOT NULL DEFAULT false,
            is_stale boolean NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 70)
    """)
    op.execute("CREATE INDEX ix_instaveo_videos_of_user ON instaveo_videos (user_id, created_at DESC, id DESC)")
    op.execute("CREATE INDEX ix_instaveo_videos_stale ON instaveo_videos (id) WHERE is_stale")
    op.execute("""
        CREATE TABLE instaveo_reactions (
            id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT uq_instaveo_reactions_id UNIQUE,
            video_id uuid NOT NULL
                CONSTRAINT fk_instaveo_reactions_video_id_instaveo_videos REFERENCES instaveo_videos (id),
            user_id uuid NOT NULL,
            reaction text NOT NULL CONSTRAINT ck_instaveo_reactions_reaction CHECK (reaction IN ('like', 'dislike')),
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_instaveo_reactions PRIMARY KEY (video_id, user_id)
        )
    """)
    op.execute("""
        CREATE INDEX ix_instaveo_reactions_liked ON instaveo_reactions (user_id, created_at DESC, video_id)
        WHERE reaction = 'like'
    """)
    op.execute("""
        CREATE TABLE instaveo_views (
            id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT uq_instaveo_views_id UNIQUE,
            video_id uuid NOT NULL
                CONSTRAINT fk_instaveo_views_video_id_instaveo_videos REFERENCES instaveo_videos (id),
            viewer text NOT NULL,
            hour timestamptz NOT NULL,
            user_id uuid,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_instaveo_views PRIMARY KEY (video_id, viewer, hour)
        )
    """)
    op.execute("""
        CREATE TABLE instaveo_creators (
            id uuid CONSTRAINT pk_instaveo_creators PRIMARY KEY,
            username text NOT NULL,
            email text NOT NULL DEFAULT '',
            avatar_url text,
            is_enterprise boolean NOT NULL DEFAULT false,
            videos_created integer NOT NULL DEFAULT 0,
            total_likes bigint NOT NULL DEFAULT 0,
            total_dislikes bigint NOT NULL DEFAULT 0,
            creator_score double precision NOT NULL DEFAULT 0,
            is_stale boolean NOT NULL DEFAULT true,
            last_created_at timestamptz,
            last_active_at timestamptz NOT NULL DEFAULT now(),
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 70)
    """)
    op.execute("CREATE UNIQUE INDEX uq_instaveo_creators_username ON instaveo_creators (lower(username))")
    op.execute("CREATE INDEX ix_instaveo_creators_stale ON instaveo_creators (id) WHERE is_stale")
    op.execute(
        "CREATE INDEX ix_instaveo_creators_top ON instaveo_creators (creator_score DESC, id) WHERE videos_created > 0"
    )
    # What the feed was at each of its last epochs: docs/adr/0025.
    op.execute("""
        CREATE TABLE instaveo_scores (
            video_id uuid NOT NULL,
            score double precision NOT NULL,
            from_epoch bigint NOT NULL,
            until_epoch bigint NOT NULL DEFAULT 9223372036854775807,
            CONSTRAINT pk_instaveo_scores PRIMARY KEY (video_id, from_epoch)
        )
    """)
    op.execute(
        "CREATE INDEX ix_instaveo_scores_feed ON instaveo_scores (score, video_id) INCLUDE (from_epoch, until_epoch)"
    )
    op.execute("""
        CREATE INDEX ix_instaveo_scores_over ON instaveo_scores (until_epoch)
        WHERE until_epoch < 9223372036854775807
    """)
    op.execute("""
        CREATE TABLE instaveo_ranking (
            id boolean CONSTRAINT pk_instaveo_ranking PRIMARY KEY DEFAULT true,
            epoch bigint NOT NULL DEFAULT 0,
            next_at timestamptz NOT NULL DEFAULT now(),
            session_key bytea NOT NULL
                DEFAULT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'),
            CONSTRAINT ck_instaveo_ranking_one CHECK (id)
        )
    """)
    op.execute("INSERT INTO instaveo_ranking DEFAULT VALUES")
    op.execute("""
        CREATE TABLE instaveo_signatures (
            signature text NOT NULL,
            user_id uuid NOT NULL,
            expires_at timestamptz NOT NULL,
            CONSTRAINT pk_instaveo_signatures PRIMARY KEY (signature, user_id)
        )
    """)
    op.execute("CREATE INDEX ix_instaveo_signatures_over ON instaveo_signatures (expires_at)")
    op.execute("""
        CREATE INDEX ix_generations_instaveo_unfinished ON generations (id)
        WHERE dialect = 'instaveo' AND status IN ('pending', 'processing')
    """)
    # Whoever records an outcome or a deletion, in whichever transaction: the video is looked at again. Other dialects'
    # rows do not even call it.
    op.execute("""
        CREATE FUNCTION instaveo_look_again() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            EXECUTE format('UPDATE %I.instaveo_videos SET is_stale = true, updated_at = now() WHERE id = $1', TG_TABLE_SCHEMA)
            USING NEW.id;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER instaveo_generation_changed AFTER UPDATE OF status, deleted_at ON generations FOR EACH ROW
        WHEN (NEW.dialect = 'instaveo'
            AND (NEW.status <> OLD.status OR NEW.deleted_at IS DISTINCT FROM OLD.deleted_at))
        EXECUTE FUNCTION instaveo_look_again()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER instaveo_generation_changed ON generations")
    op.execute("DROP FUNCTION instaveo_look_again")
    op.execute("DROP INDEX ix_generations_instaveo_unfinished")
    op.execute("""
        DROP TABLE instaveo_signatures, instaveo_ranking, instaveo_scores, instaveo_creators, instaveo_views,
            instaveo_reactions, instaveo_videos
    """)
