// bench/progress.h - how a long measurement says where it is.
#pragma once

#include <functional>
#include <string>

namespace dgq::bench {

// What is being done, and how much of the whole is: 0..1.
using Progress = std::function<void(const std::string& label, double done)>;

}  // namespace dgq::bench
