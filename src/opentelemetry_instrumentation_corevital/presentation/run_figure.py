"""A figure that a notebook shows by itself: matplotlib's own needs pyplot for that, which keeps every figure alive."""

from io import BytesIO

from matplotlib.figure import Figure


class RunFigure(Figure):
    """A figure of a run; `savefig()` writes it."""

    def _repr_png_(self) -> bytes:
        made = BytesIO()
        self.savefig(made, format="png", dpi=110)
        return made.getvalue()
