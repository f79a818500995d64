// agent/metrics.h - counts as Prometheus reads them (text format 0.0.4).
#pragma once

#include <string>
#include <vector>

#include "agent/engine.h"
#include "agent/http_server.h"

namespace dgq::agent {

// llama-server's names where it has the same thing, else dgq_...; sums over the engines.
std::string render_metrics(const std::vector<const Engine*>& engines, const HttpStats& http);

}  // namespace dgq::agent
