#include "quantizer/work_folder.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "runtime/chat_template.h"
#include "runtime/foreign.h"

namespace dgq {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxRecordBytes = 16u << 20;
constexpr const char* kPlan = "plan";

Manifest job_of(const Manifest& record) {
  Manifest job = record;
  job.blobs.clear();
  job.report = Json();
  job.provenance = Json::object();
  for (const char* key : {"sources", "tool"})
    if (record.provenance.contains(key)) job.provenance[key] = record.provenance[key];
  return job;
}

Result<Fd> lock_folder(const fs::path& path, WorkFolder::Use use) {
  const fs::path file = path / "lock";
  Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!fd) return errno_error("open", file, errno);
  if (::flock(fd.get(), (use == WorkFolder::Use::alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK)
    return Error{Errc::busy, "another dgq quantize is at work on this job in " + path.string() +
                                 "; wait for it, or give another --work folder"};
  return errno_error("lock", file, errno);
}

bool ours(const std::string& file) {
  if (file == "lock") return true;
  for (const char* piece :
       {kPlan, "hidden", "embedding", "layers", "head", "tokenizer", kChatTemplateBlob, kRestBlob})
    if (file.starts_with(std::string(piece) + ".")) return true;
  return false;
}

}  // namespace

bool same_job(const Manifest& a, const Manifest& b) {
  const auto part = [](const Manifest& m, const char* key) { return m.provenance.value(key, Json()); };
  return a.config == b.config && a.recipe == b.recipe && a.activation_block == b.activation_block &&
         part(a, "sources") == part(b, "sources") && part(a, "tool") == part(b, "tool");
}

Digest fingerprint(const Manifest& job) { return sha256(job.canonical()); }

std::vector<std::string> blob_names(std::size_t layers, const Manifest& job) {
  std::vector<std::string> names = {"embedding"};
  for (std::size_t i = 0; i < layers; ++i) names.push_back("layers." + std::to_string(i));
  names.insert(names.end(), {"head", "tokenizer"});
  const auto sources = job.provenance.find("sources");
  if (sources != job.provenance.end() && sources->contains(kChatTemplateBlob))
    names.push_back(kChatTemplateBlob);
  return names;
}

Result<std::vector<TensorReport>> WorkFolder::Piece::tensors() const {
  return report_from_json(record.report, blob().name);
}

Result<WorkFolder> WorkFolder::open(const fs::path& path, const Manifest& job, Use use) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return errno_error("create folder", path, error.value());
  DGQ_TRY(Fd lock, lock_folder(path, use));
  return WorkFolder(path, job, std::move(lock));
}

Result<WorkFolder> WorkFolder::read(const fs::path& path) {
  WorkFolder folder(path, {}, Fd());
  const fs::path file = path / (std::string(kPlan) + ".json");
  DGQ_TRY(const std::string text, read_file(file, kMaxRecordBytes));
  DGQ_TRY(const Manifest record, Manifest::parse(text, file.string()));
  folder.job_ = job_of(record);
  DGQ_TRY(const ModelPlan checked, folder.plan());
  return folder;
}

Result<WorkFolder::Piece> WorkFolder::read_piece(const std::string& name) const {
  const fs::path file = path_ / (name + ".json");
  const auto damaged = [&](const std::string& what) { return Error{Errc::corrupt, what}; };
  DGQ_TRY(const std::string text, read_file(file, kMaxRecordBytes));
  Piece piece;
  DGQ_TRY(piece.record, Manifest::parse(text, file.string()));
  if (!same_job(piece.record, job_))
    return Error{Errc::invalid, path_.string() +
                                    " holds pieces of another job (other model, recipe, "
                                    "calibration or dgq version); give another folder"};
  if (piece.record.blobs.size() != 1 || piece.blob().name != name)
    return damaged(file.string() + " is not about " + name);
  DGQ_TRY(piece.costs, costs_from_json(piece.record.provenance.value("costs", Json::array()), file.string()));
  piece.record.provenance.erase("costs");
  const fs::path bytes = path_ / (name + ".blob");
  Result<MappedFile> map = MappedFile::open(bytes);
  if (!map && map.error().code == Errc::not_found) return damaged(map.error().what);
  if (!map) return map.error();
  if (map->bytes().size() != piece.blob().bytes || sha256(map->bytes()) != piece.blob().digest)
    return damaged(bytes.string() + " is damaged");
  piece.bytes = std::move(*map);
  return piece;
}

Result<void> WorkFolder::write_piece(const std::string& name, const char* media,
                                     std::span<const std::byte> bytes, Json provenance, const Json& report,
                                     const std::vector<StageCost>& costs) const {
  Manifest record = job_;
  record.blobs = {{name, media, sha256(bytes), bytes.size()}};
  provenance["costs"] = to_json(costs);
  record.provenance = std::move(provenance);
  record.report = report;
  const std::string text = record.canonical();
  DGQ_CHECK(write_file_atomic(path_ / (name + ".blob"), bytes));
  return write_file_atomic(path_ / (name + ".json"), std::as_bytes(std::span(text)));
}

Result<WorkFolder::Piece> WorkFolder::find(const std::string& name) const {
  DGQ_TRY(Piece piece, read_piece(name));
  if (piece.record.provenance != plan_provenance_)
    return Error{Errc::invalid, (path_ / name).string() + " was made with another plan than the rest"};
  DGQ_CHECK(piece.tensors());
  return piece;
}

Result<void> WorkFolder::store(const std::string& name, const char* media, std::span<const std::byte> bytes,
                               const std::vector<TensorReport>& tensors,
                               const std::vector<StageCost>& costs) const {
  return write_piece(name, media, bytes, plan_provenance_, to_json(tensors), costs);
}

Result<ModelPlan> WorkFolder::plan() {
  DGQ_TRY(Piece piece, read_piece(kPlan));
  const std::string where = path_ / kPlan;
  DGQ_TRY(const ModelConfig config, parse_config(job_.config, where));
  DGQ_TRY(ModelPlan plan, parse_plan(piece.bytes.bytes(), config, where));
  plan_provenance_ = piece.record.provenance;
  plan_costs_ = std::move(piece.costs);
  files_.clear();
  if (const auto files = plan_provenance_.find("files");
      files != plan_provenance_.end() && files->is_object())
    for (const auto& [name, digest] : files->items()) {
      if (!digest.is_string()) return Error{Errc::corrupt, where + ": a file without a digest"};
      DGQ_TRY(const Digest parsed, Digest::parse(digest.get_ref<const std::string&>()));
      files_.push_back({name, parsed});
    }
  plan_provenance_.erase("files");
  plan_provenance_["plan"] = piece.blob().digest.hex();
  return plan;
}

Result<void> WorkFolder::store_plan(const ModelPlan& plan, const std::vector<FileDigest>& files,
                                    const std::vector<StageCost>& costs) {
  DGQ_TRY(const ModelConfig config, parse_config(job_.config, path_.string()));
  const std::string bytes = plan_to_bytes(plan, config);
  plan_provenance_ = job_.provenance;
  plan_provenance_["calibration"] = sequences_digest(plan.sequences).hex();
  Json with_files = plan_provenance_;
  for (const FileDigest& file : files) with_files["files"][file.name] = file.digest.hex();
  DGQ_CHECK(write_piece(kPlan, "safetensors", std::as_bytes(std::span(bytes)), with_files, Json(), costs));
  plan_costs_ = costs;
  files_ = files;
  plan_provenance_["plan"] = sha256(bytes).hex();
  return {};
}

void WorkFolder::begin_without_plan(const std::vector<FileDigest>& files) {
  plan_provenance_ = job_.provenance;
  files_ = files;
}

void WorkFolder::remove() const {
  std::error_code ignored;
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, ignored))
    if (ours(entry.path().filename())) files.push_back(entry.path());
  for (const fs::path& file : files) fs::remove(file, ignored);
  fs::remove(path_, ignored);
}

}  // namespace dgq
