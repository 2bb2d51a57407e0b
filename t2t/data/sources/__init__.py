"""Raw data sets, and their prepared form: deterministic files with a manifest.

A source gives named splits of (image, label). `prepare` writes one down once; `open_prepared`
reads it back and is a source again, which the shard writer takes. Each file in `adapters` is a
data set, found by its name: its `load(roots, **parameters)` returns a `Source`.
"""

from t2t.data.sources.prepared import load_source, open_prepared, prepare, source_names
from t2t.data.sources.roots import Roots
from t2t.data.sources.source import Source

__all__ = ["Roots", "Source", "load_source", "open_prepared", "prepare", "source_names"]
