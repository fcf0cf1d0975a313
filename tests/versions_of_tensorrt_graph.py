"""The network side of ``versions_of_tensorrt``: tensors, layers, networks, a parser of real ONNX files."""

KINDS = {
    "Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "MatMul": "MATRIX_MULTIPLY",
    "Relu": "ACTIVATION", "Clip": "ACTIVATION", "Sigmoid": "ACTIVATION",
    "Add": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Cast": "CAST",
    "QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE", "Shape": "SHAPE", "Constant": "CONSTANT",
    "Resize": "RESIZE", "Concat": "CONCATENATION",
}  # fmt: skip


class Restricted:
    """Has only the public names its version has."""

    names = frozenset()

    def __getattribute__(self, key):
        if not key.startswith("_") and key not in type(self).names:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}")
        return super().__getattribute__(key)

    def __setattr__(self, key, value):
        if not key.startswith("_") and key not in type(self).names:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}")
        super().__setattr__(key, value)


class Tensor(Restricted):
    def __init__(self, name, dtype, shape):
        self._state = (name, dtype, shape)

    @property
    def name(self):
        return self._state[0]

    @property
    def dtype(self):
        return self._state[1]

    @property
    def shape(self):
        return self._state[2]


class Layer(Restricted):
    def __init__(self, network, name, kind, inputs, outputs):
        self._network, self._inputs, self._outputs = network, inputs, outputs
        self._name, self._kind, self._constraint = name, kind, None

    name = property(lambda self: self._name)
    type = property(lambda self: self._kind)
    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]

    @property
    def precision(self):
        return self._constraint

    @precision.setter
    def precision(self, dtype):
        if self._network._strong:
            raise RuntimeError("precision of a layer in a strongly typed network")
        if self._kind.name in ("CONSTANT", "SHAPE"):
            raise RuntimeError(f"precision of a {self._kind.name} layer")
        self._constraint = dtype

    def set_output_type(self, index, dtype):
        if self._network._strong:
            raise RuntimeError("output type in a strongly typed network")


class Network(Restricted):
    def __init__(self, trt, flags):
        known = sum(1 << int(flag) for flag in trt.NetworkDefinitionCreationFlag)
        if flags & ~known:
            raise TypeError(f"flags {flags}: unknown")
        self._explicit = not hasattr(trt.BuilderFlag, "STRICT_TYPES") or bool(
            flags & 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
        )
        strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        always = not hasattr(trt.BuilderFlag, "FP16")
        self._strong = always or (strong is not None and bool(flags & 1 << int(strong)))
        self._layers, self._in, self._out = [], [], []

    num_layers = property(lambda self: len(self._layers))
    num_inputs = property(lambda self: len(self._in))
    num_outputs = property(lambda self: len(self._out))

    def get_layer(self, index):
        return self._layers[index]

    def get_input(self, index):
        return self._in[index]

    def get_output(self, index):
        return self._out[index]


class Error(Restricted):
    def __init__(self, node, text, operator=""):
        self._node, self._text, self._operator = node, text, operator

    def desc(self):
        return self._text

    def node(self):
        return self._node

    def node_name(self):
        return f"node_{self._node}" if self._node >= 0 else ""

    def node_operator(self):
        return self._operator


class Parser(Restricted):
    def __init__(self, network, logger):
        self._network, self._logger, self._errors = network, logger, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def parse_from_file(self, path):
        import onnx

        trt, network = self._trt, self._network
        if not network._explicit:
            self._errors.append(trt.ParserError(-1, "the network must have an explicit batch dimension"))
            return False
        try:
            graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
        except Exception:
            self._errors.append(trt.ParserError(-1, "Failed to parse the ONNX model."))
            return False
        types = {
            1: "FLOAT",
            10: "HALF",
            3: "INT8",
            7: "INT64" if "INT64" in trt.DataType.__members__ else "INT32",
        }
        tensors = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            kind = value.type.tensor_type
            shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
            tensors[value.name] = trt.ITensor(value.name, trt.DataType[types[kind.elem_type]], shape)
        network._in = [tensors[value.name] for value in graph.input]
        network._out = [tensors[value.name] for value in graph.output]
        for index, node in enumerate(graph.node):
            if node.op_type not in KINDS:
                self._errors.append(trt.ParserError(index, "no importer registered", node.op_type))
                return False
            inputs = [tensors[name] for name in node.input if name in tensors]
            outputs = [tensors[name] for name in node.output]
            kind = trt.LayerType[KINDS[node.op_type]]
            network._layers.append(trt.ILayer(network, node.name, kind, inputs, outputs))
        return True
