"""What the makers of GPUs say theirs can do: the peak that a share of it (MFU) is counted against."""

import re

PEAKS = {
    # H100 and H200 datasheets; printed with sparsity (1,979, 1,671 and 1,513), which training has not.
    r"NVIDIA H[12]00( 80GB HBM3)?|NVIDIA H800|NVIDIA GH200 .*": 989.0,
    r"NVIDIA H[12]00 NVL": 835.0,
    r"NVIDIA H100 PCIe": 756.0,
    # A100, A30, A10 and A40 datasheets.
    r"NVIDIA A[18]00.*GB( PCIe)?": 312.0,
    r"NVIDIA A30": 165.0,
    r"NVIDIA A10": 125.0,
    r"NVIDIA A40": 149.7,
    # L40S and L4 datasheets; the L4's is printed with sparsity (242).
    r"NVIDIA L40S": 362.0,
    r"NVIDIA L4": 121.0,
    # Ada, Ampere and Blackwell GeForce whitepapers, with sums in fp32: with fp16 sums twice that is printed.
    r"NVIDIA GeForce RTX 5090": 209.5,
    r"NVIDIA GeForce RTX 4090": 165.2,
    r"NVIDIA GeForce RTX 4080": 97.5,
    r"NVIDIA GeForce RTX 3090": 71.0,
}
"""Dense bf16 and fp16 products with sums in fp32, TFLOP/s, by the name torch gives the device."""
PEAKS_FP16 = {
    # T4 and V100 datasheets; these cards have no bf16.
    r"(NVIDIA |Tesla )T4": 65.0,
    r"Tesla V100-SXM[23]-.*": 125.0,
    r"Tesla V100-PCIE-.*": 112.0,
}
"""The same for cards that know only fp16."""


def peak_tflops(device_name: str, precision: str) -> float | None:
    """Dense peak of the device in this precision, TFLOP/s; None where it is not on record (fp32, unknown cards)."""
    tables = {"bf16": (PEAKS,), "fp16": (PEAKS, PEAKS_FP16)}.get(precision, ())
    found = (peak for table in tables for name, peak in table.items() if re.fullmatch(name, device_name))
    return next(found, None)
