"""Where a node's data sets for jobs are read from."""

from __future__ import annotations

from mpc.data.tables import DataSet
from unseen.home import Home
from unseen.node.settings import JobData


def job_source(home: Home, data: JobData, columns: tuple[str, ...] | None = None) -> DataSet:
    """A data set for jobs, of which no columns but `columns` can be read; by default all that it gives."""
    source = data.source if "://" in data.source else str(home.root / data.source)
    return DataSet(source, columns=columns or data.columns, table=data.table, encoding=data.encoding)
