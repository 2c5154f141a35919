"""The base of all sections, and what their fields are written with."""

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
Kind = TypeVar("Kind", bound="Section")
LEFT_OUT = "LEFT_OUT"  # marks LeftOut
# A key that may be left out and that has no default; where it is given, null is no value of it. In Python it is None then.
LeftOut = Annotated[T | None, LEFT_OUT]
FrozenPart = Literal["none", "stem", "stage1", "stage2", "stage3"]  # of a trunk, each with what stands before it
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+\Z")]
Number = int | float  # kept as it is written, since files and tables say it
Text = Annotated[str, Field(min_length=1)]
TextOrNull = Annotated[str | None, Field(min_length=1)]


def _key(field: str) -> str:
    """The key in YAML of a field, which has an underscore behind it where Python has the word for itself."""
    return field.removesuffix("_")


class Section(BaseModel):
    """Keys of a config file. A field without a default is required.

    Attributes:
        renamed: former names of keys, with what they are called now.
        together: what JSON schema says of several keys at once.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_key, populate_by_name=True, regex_engine="python-re", defer_build=True
    )
    renamed: ClassVar[dict[str | None, str]] = {}
    together: ClassVar[dict[str, Any]] = {}

    def fault(self) -> str | None:
        """What of the values does not go together, though a schema allows each, in words; None where nothing is wrong."""
        return None


def about(text: str) -> str:
    """What a key means, for docs/config.md and editors. No code digest covers it, as none covers comments."""
    return text


def keys_of(kind: type[Section]) -> tuple[str, ...]:
    """The keys of a section as YAML has them, in the order of its fields."""
    return tuple(map(_key, kind.model_fields))


def defaults_of(kind: type[Section]) -> dict[str, Any]:
    """The plain values of a section that says nothing: its defaults, of which there must be one for each key."""
    return kind().model_dump(mode="json", by_alias=True)


def part_of(values: dict[str, Any], kind: type[Section]) -> dict[str, Any]:
    """Those of the values that are keys of `kind`."""
    return {key: values[key] for key in keys_of(kind) if key in values}


def typed(values: Any, kind: type[Kind]) -> Kind:
    """A section's plain values as its class. They are checked when recipes are read; a fault here is one of the code."""
    return kind.model_validate(values)


def plain(section: Section) -> dict[str, Any]:
    """The values of a section as its file has them: what it leaves out is left out."""
    return section.model_dump(mode="json", by_alias=True, exclude_unset=True)


def required(value: T | None) -> T:
    """A value that other keys need, such as `power` for schedule poly: the recipe was refused without it (`wsss.recipes.checks`)."""
    assert value is not None
    return value
