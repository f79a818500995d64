// Bytes as the JSON documents of an OCI layout (changed_file.h): what parses is written as a fixed point, and every digest
// is one that can be a file name.
#include <cstdlib>

#include "registry/oci.h"
#include "tests/fuzz/changed_file.h"

namespace {

dgq::OciManifest good_image() {
  dgq::OciManifest image;
  image.config = {dgq::sha256("config"), 100, ""};
  image.layers = {{dgq::sha256("layer"), 200, "layers.0"}, {dgq::sha256("more"), 0, "tokenizer"}};
  image.names = {*dgq::ModelRef::parse("demo"), *dgq::ModelRef::parse("team/demo:two")};
  image.signatures = {{{image.config.digest, "demo", 3, 5, 6, "0123456789abcdef"}, {}}};
  return image;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string image = good_image().text(),
                           index = dgq::oci_index_text({{dgq::sha256(image), 1, "demo:latest"}});
  const std::string image_text = dgq::test::changed_file(image, data, size);
  if (const auto parsed = dgq::OciManifest::parse(image_text, "fuzz")) {
    const auto again = dgq::OciManifest::parse(parsed->text(), "again");
    if (!again || again->text() != parsed->text()) std::abort();
  }
  const std::string index_text = dgq::test::changed_file(index, data, size);
  if (const auto parsed = dgq::parse_oci_index(index_text, "fuzz")) {
    const auto again = dgq::parse_oci_index(dgq::oci_index_text(*parsed), "again");
    if (!again || again->size() != parsed->size() || again->front().digest != parsed->front().digest)
      std::abort();
  }
  static_cast<void>(dgq::check_oci_layout(index_text, "fuzz"));
  return 0;
}
