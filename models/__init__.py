"""The bundles that ship: one folder a model, with model.onnx, manifest.json, MODEL_CARD.md and LEDGER.json."""
