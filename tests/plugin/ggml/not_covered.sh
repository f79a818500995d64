#!/bin/sh
# Says that llama.cpp was not there to be tested with; tools/test lists it at its end.
what="the backend for llama.cpp (needs npm, git and the network: plugin/ggml/fetch)"
echo "not covered: $what"
[ -z "$DGQ_NOT_COVERED" ] || echo "$what" >> "$DGQ_NOT_COVERED"
