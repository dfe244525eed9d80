"""What the columns of `runs` are copies of: attributes of a run's span, its prompt event and its resource."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .. import semconv
from ..catalogue import prompt_names
from ..catalogue.verdict import SQL_TYPES, VerdictType
from ..catalogue.verdicts import CARRIED, FLAGS


@dataclass(frozen=True, slots=True)
class VerdictColumn:
    """A column that the catalogue declares."""

    name: str
    attribute: str
    type: VerdictType
    since: int
    """The version of the store that first has it."""

    def declaration(self) -> str:
        """Return it as it stands in a table. A list is JSON, `null` where it is not there."""
        default = " NOT NULL DEFAULT '[]'" if self.type.endswith("[]") else ""
        return f"{self.name} {SQL_TYPES[self.type]}{default}"

    def from_json(self, attributes: str) -> str:
        """Return what it holds of a span, as SQL over the column with the span's attributes."""
        arguments = f"{attributes}, '$.\"{self.attribute}\"'"
        kind, value = f"json_type({arguments})", f"json_extract({arguments})"
        if self.type == "boolean":
            return f"CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
        kept = f"CASE WHEN {kind} IN ({_JSON_TYPES[self.type]}) THEN {value} END"
        return f"coalesce({kept}, 'null')" if self.type.endswith("[]") else kept


_JSON_TYPES: Final[Mapping[VerdictType, str]] = {
    "int": "'integer'",
    "double": "'real', 'integer'",
    "string": "'text'",
    "string[]": "'array'",
}

VERDICT_COLUMNS: Final = (
    *(VerdictColumn(flag.name, flag.attribute, "boolean", flag.since) for flag in FLAGS),
    *(VerdictColumn(each.column, each.attribute, each.type, each.since) for each in CARRIED if each.column),
)
FLAG_INDEXES: Final = {f"runs_{flag.word}": flag.name for flag in FLAGS}
"""Index over the runs that have a flag -> its column."""

COLUMN_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "sequence_index": (semconv.SEQUENCE_INDEX,),
    "model": (semconv.MODEL_NAME, semconv.GEN_AI_REQUEST_MODEL),
    "operation": (semconv.GEN_AI_OPERATION_NAME,),
    "strategy": (semconv.DECODING_STRATEGY,),
    **{column.name: (column.attribute,) for column in VERDICT_COLUMNS},
    "input_tokens": (semconv.SEQUENCE_INPUT_TOKENS, semconv.GEN_AI_USAGE_INPUT_TOKENS),
    "output_tokens": (semconv.SEQUENCE_OUTPUT_TOKENS, semconv.GEN_AI_USAGE_OUTPUT_TOKENS),
    "finish_reason": (semconv.GEN_AI_RESPONSE_FINISH_REASONS,),
    "error_type": (semconv.ERROR_TYPE,),
    "entropy_mean": (semconv.ENTROPY_MEAN,),
    "surprisal_mean": (semconv.SURPRISAL_MEAN,),
    "margin_mean": (semconv.MARGIN_MEAN,),
}
"""Column -> the attributes that may hold its value: a sequence's own span, then a call's."""

PROMPT_COLUMNS: Final[Mapping[str, str]] = {
    "prompt_id": prompt_names.PROMPT_ID,
    "request_hash": prompt_names.PROMPT_REQUEST_HASH,
    "expected_found": prompt_names.PROMPT_EXPECTED_FOUND,
}
"""Column -> the attribute of the event that says which prompt of a prompt set a run answers."""
SET_COLUMNS: Final = ("experiment", *PROMPT_COLUMNS)
"""What is known of a run that answers a prompt of a prompt set; `experiment` is the resource's."""
