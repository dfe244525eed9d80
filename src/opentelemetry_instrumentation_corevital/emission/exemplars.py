"""Which measurements may become exemplars: those for which the SDK draws no random number.

Of what is measured inside a sampled span the SDK keeps some as exemplars. Of a histogram with explicit buckets it keeps
the last of each bucket. Of anything else it chooses with Python's process-wide generator, from which a run may draw.
"""

from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import AlignedHistogramBucketExemplarReservoir
from opentelemetry.trace import INVALID_SPAN, set_span_in_context


def without_exemplar(context: Context | None = None) -> Context:
    """Return a context, by default the current one, whose measurements become no exemplars.

    An empty context would not do: the SDK takes the current one in its place.
    """
    return set_span_in_context(INVALID_SPAN, context)


def exemplar_context(histogram: Any, context: Context) -> Context:
    """Return the context to record a histogram's measurements with: `context`, unless the SDK would draw for them."""
    return context if _keeps_the_last(histogram) else without_exemplar(context)


def _keeps_the_last(histogram: Any) -> bool:
    """Whether every reader of a histogram keeps exemplars without drawing.

    Views and readers choose that, and only private attributes of the SDK tell it. Where it has others: no.
    """
    made_later = getattr(histogram, "_real_instrument", None)  # of a histogram that was made before its provider
    instrument = histogram if made_later is None else made_later
    try:
        streams = [
            stream
            for storage in instrument._measurement_consumer._reader_storages.values()
            for stream in storage._get_or_init_view_instrument_match(instrument)
        ]
        return all(type(s._aggregation._reservoir) is AlignedHistogramBucketExemplarReservoir for s in streams)
    except (AttributeError, TypeError):
        return False
