// All kernels of livecut in one translation unit: compiled by nvcc when livecut is built, by NVRTC at first use, or as
// C++ for the host (emulate.cpp), which is how their numerics are tested where there is no GPU.
#include "composite.cuh"
#include "planar.cuh"
#include "preprocess.cuh"
#include "small.cuh"
