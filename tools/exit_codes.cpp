#include "tools/exit_codes.h"

namespace dgq::tools {
namespace {

constexpr ExitCode kExitCodes[] = {
    {0, "done"},
    {kExitFindings,
     "done, with findings: verify found faults; diff --exit-code found differences; compare found something "
     "slower; deploy --wait: it does not serve"},
    {kExitUsage, "wrong usage: no such command, option or value, or things that do not go together"},
    {3, "not found: no such registry, model, tag, blob or file"},
    {4, "damaged: a file or the registry contradicts itself or its digest"},
    {5, "unsupported: a model or file that this dgq does not handle, or one made by a newer dgq"},
    {6, "the system refused: no space, no permission, read-only, an I/O error"},
    {7, "busy: another process holds it; try again later"},
    {kExitInternal, "out of memory, or a defect of dgq"},
    {9, "refused by policy: not signed by a trusted key, expired, or older than accepted"},
};

}  // namespace

std::span<const ExitCode> exit_codes() { return kExitCodes; }

int exit_code(Errc error) {
  switch (error) {
    case Errc::invalid:
      return kExitUsage;
    case Errc::not_found:
      return 3;
    case Errc::corrupt:
      return 4;
    case Errc::unsupported:
      return 5;
    case Errc::io:
      return 6;
    case Errc::busy:
      return 7;
    case Errc::untrusted:
      return 9;
  }
  return kExitInternal;
}

}  // namespace dgq::tools
