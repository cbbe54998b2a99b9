"""What must lie in the weights cache before a stream is extracted: published weights, or a model that was brought."""

from features.brought.bundle import find_bundle, is_brought, verified_folder
from features.brought.extras import require_extra
from features.brought.onnx_file import GRAPH
from features.weights import weight_path
from storage_schema.streams import StreamSpec


def needed_weights(spec: StreamSpec) -> list[str]:
    """The names of what `spec` is made with, for `ensure_weights`; a brought model is one, whatever its files."""
    model = spec.parameters.get("model")
    return [str(model)] if is_brought(model) else list(spec.weights)


def ensure_weights(name: str) -> None:
    """Have what is called `name` in the cache, whole, and the library that reads it installed; fetch what can be.

    Raises InputError where that fails; see `features.weights.fetch` and `features.brought.bundle.verified_folder`.
    """
    if is_brought(name):
        require_extra(*(("onnx", "onnxruntime") if GRAPH in find_bundle(name).files else ("hf", "transformers")))
        verified_folder(name)
    else:
        weight_path(name)
