"""The bundles that ship: a folder each, with model.onnx, manifest.json, MODEL_CARD.md and LEDGER.json."""
