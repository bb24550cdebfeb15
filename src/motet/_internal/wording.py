"""Wording of messages."""


def with_article(name: str) -> str:
    """Return a name with its indefinite article: ``"a Linear"``, ``"an Ensemble"``.

    The first letter decides. Names that begin with u get "a", as in "a user's class".
    """
    return f"{'an' if name[:1].lower() in set('aeio') else 'a'} {name}"
