"""What became its owner's alone, or everybody's again: the feed looks again, and files know what they were made by."""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.execute("""
        CREATE TRIGGER instaveo_visibility_changed AFTER UPDATE OF particulars ON generations FOR EACH ROW
        WHEN (NEW.dialect = 'instaveo'
            AND NEW.particulars ->> 'visibility' IS DISTINCT FROM OLD.particulars ->> 'visibility')
        EXECUTE FUNCTION instaveo_look_again()
    """)
    op.execute("ALTER TABLE uploaded_files ADD generation_id uuid")


def downgrade() -> None:
    op.execute("ALTER TABLE uploaded_files DROP generation_id")
    op.execute("DROP TRIGGER instaveo_visibility_changed ON generations")
