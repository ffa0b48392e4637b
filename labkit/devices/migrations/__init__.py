"""How the registry's tables came to be, one file a change (Alembic)."""
