// registry/repair.h - puts back what has rotted in a registry, from what is still whole (docs/REGISTRY.md, Repair).
//
// Nothing is fetched. What replaces damaged bytes was checked against their digest first; each blob and each manifest is one
// transaction with its audit row, so that a repair that is killed has done a part of its work, and the next one does the rest.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "registry/registry.h"

namespace dgq {

struct RepairSources {
  std::filesystem::path layers;              // folder of layer files (LayerCache), which are mended as well
  std::vector<std::filesystem::path> given;  // bundles, and folders that are OCI layouts
};

struct RepairReport {
  struct Restored {
    std::string what, from;  // "layers.1 of demo:latest (3f7a90c1d2e3)", "layer file /srv/..."
  };
  struct Lost {
    std::string what;
    std::vector<std::string> versions;  // that need it: their names, or digest
  };
  std::vector<Restored> restored;
  std::vector<Lost> lost;
  std::vector<std::string> notes;  // what was removed, and sources that could not be read to their end
  VerifyReport registry, files;    // as they are now
};

// Errors are those of opening what was given (before anything is changed), and of the disk. What cannot be restored is no Error:
// it is left as it is, and in `lost`. Where the database itself is damaged (VerifyReport) nothing is written at all.
Result<RepairReport> repair(Registry& registry, const RepairSources& sources,
                            const BlobProgress& progress = {});

}  // namespace dgq
