"""Docstrings below the fields of settings, for the documents.

Pydantic reads them, too, but from the source files at every import, which costs a preview 0.05 s.
"""

import ast
import functools
import inspect
import textwrap

from pydantic import BaseModel


def described(model: type[BaseModel], field: str) -> str:
    """Return the text below a field, in the class that declares it; empty without one."""
    return next(
        (texts[field] for one in model.__mro__ if field in (texts := _texts(one))),
        "",
    )


@functools.cache
def _texts(declaring: type) -> dict[str, str]:
    if not issubclass(declaring, BaseModel) or declaring is BaseModel:
        return {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(declaring))).body
    assert isinstance(body, ast.ClassDef)
    return {
        before.target.id: " ".join(str(after.value.value).split())
        for before, after in zip(body.body, body.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }
