#include "tools/agent_listen.h"

#include <charconv>
#include <ctime>

namespace dgq::tools {
namespace po = boost::program_options;
using agent::Log;

namespace {

struct TcpAddress {
  std::string host;
  std::uint16_t port;
};
Result<TcpAddress> parse_listen(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  TcpAddress address{text.substr(0, colon), 0};
  const char *first = text.data() + (colon == text.npos ? text.size() : colon + 1),
             *last = text.data() + text.size();
  const auto [end, error] = std::from_chars(first, last, address.port);
  if (colon == text.npos || error != std::errc() || end != last || first == last)
    return Error{Errc::invalid, "--listen must be ADDRESS:PORT such as 127.0.0.1:8080, or none, not '" +
                                    one_line(text) + "'"};
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  return address;
}

Result<unsigned> parse_mode(const std::string& text) {
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error == std::errc() && end == text.data() + text.size() && mode <= 0777) return mode;
  return Error{Errc::invalid, "--unix-mode must be permissions such as 0660, not '" + one_line(text) + "'"};
}

}  // namespace

void add_listen_options(Options& options) {
  const auto text = [](const char* value) { return po::value<std::string>()->default_value(value); };
  const auto number = [](std::size_t value) {
    return po::value<std::uint32_t>()->default_value(static_cast<std::uint32_t>(value))->value_name("N");
  };
  const agent::HttpLimits limits;
  options.named.add_options()  //
      ("listen", text("127.0.0.1:8080")->value_name("ADDRESS:PORT"),
       "TCP; numeric, [::1]:8080 for IPv6, port 0: one that is free; none: no TCP")                         //
      ("unix", text("")->value_name("PATH"), "a Unix socket as well")                                       //
      ("unix-mode", text("0600")->value_name("OCTAL"), "its permissions")                                   //
      ("token-file", text("")->value_name("FILE"), "bearer tokens, one per line; its owner's only (0600)")  //
      ("tls-cert", text("")->value_name("FILE"),
       "TLS on TCP: the certificate and those between it and its root, PEM")              //
      ("tls-key", text("")->value_name("FILE"), "its key, PEM; its owner's only (0600)")  //
      ("tls-client-ca", text("")->value_name("FILE"),
       "clients need a certificate of one of these authorities, PEM")        //
      ("connections", number(limits.connections), "at once")                 //
      ("header-bytes", number(limits.header_bytes), "of a request")          //
      ("body-bytes", number(limits.body_bytes), "of a request")              //
      ("handshake-time", number(10), "seconds for a TLS handshake")          //
      ("header-time", number(10), "seconds for a request's header")          //
      ("body-time", number(30), "seconds for its body")                      //
      ("idle-time", number(60), "seconds between requests of a connection")  //
      ("write-time", number(30), "seconds for a client to take what was sent");
}

Result<void> check_ranges(const Options& options, std::span<const Range> ranges) {
  for (const Range& range : ranges)
    if (const auto value = options.get<std::uint32_t>(range.name); value < range.low || value > range.high)
      return Error{Errc::invalid, std::string("--") + range.name + " must be from " +
                                      std::to_string(range.low) + " to " + std::to_string(range.high)};
  return {};
}

Result<void> check_listen_options(const Options& options) {
  constexpr Range kRanges[] = {{"connections", 1, 100'000}, {"header-bytes", 256, 1 << 20},
                               {"body-bytes", 1, 1 << 30},  {"handshake-time", 1, 86'400},
                               {"header-time", 1, 86'400},  {"body-time", 1, 86'400},
                               {"idle-time", 1, 86'400},    {"write-time", 1, 86'400}};
  return check_ranges(options, kRanges);
}

agent::HttpLimits http_limits(const Options& options) {
  const auto number = [&](const char* name) { return options.get<std::uint32_t>(name); };
  const auto seconds = [&](const char* name) { return std::chrono::seconds(number(name)); };
  agent::HttpLimits limits;
  limits.connections = number("connections");
  limits.header_bytes = number("header-bytes");
  limits.body_bytes = number("body-bytes");
  limits.handshake_time = seconds("handshake-time");
  limits.header_time = seconds("header-time");
  limits.body_time = seconds("body-time");
  limits.idle_time = seconds("idle-time");
  limits.write_time = seconds("write-time");
  return limits;
}

Result<std::shared_ptr<agent::TlsContext>> read_tls(const Options& options, const Log& log) {
  const agent::TlsFiles files{options.get<std::string>("tls-cert"), options.get<std::string>("tls-key"),
                              options.get<std::string>("tls-client-ca")};
  if (files.certificate.empty() && files.key.empty() && files.client_ca.empty())
    return std::shared_ptr<agent::TlsContext>();
  if (files.certificate.empty() || files.key.empty())
    return Error{Errc::invalid, "TLS needs both --tls-cert and --tls-key"};
  DGQ_TRY(auto tls, agent::TlsContext::load(files));
  if (const std::string why = tls->date_warning(std::time(nullptr)); !why.empty())
    log.write(Log::Level::warning, "certificate", {{"file", files.certificate.native()}, {"why", why}});
  return tls;
}

Result<void> listen(agent::HttpServer& server, const Options& options, std::vector<Fd> handed_over,
                    const Log& log) {
  const auto &tcp = options.get<std::string>("listen"), &unix_path = options.get<std::string>("unix");
  if (!handed_over.empty()) {
    for (Fd& socket : handed_over) {
      DGQ_TRY(const std::string what, server.listen_inherited(std::move(socket)));
      log.write(Log::Level::info, "listening", {{"handed_over", what}});
    }
    return {};
  }
  if (tcp == "none" && unix_path.empty())
    return Error{Errc::invalid, "--listen none leaves nothing to listen on: give --unix"};
  if (!unix_path.empty()) {
    DGQ_TRY(const unsigned mode, parse_mode(options.get<std::string>("unix-mode")));
    DGQ_CHECK(server.listen_unix(unix_path, mode));
    log.write(Log::Level::info, "listening", {{"unix", unix_path}});
  }
  if (tcp == "none") return {};
  DGQ_TRY(const TcpAddress address, parse_listen(tcp));
  DGQ_TRY(const std::uint16_t port, server.listen_tcp(address.host, address.port));
  const bool tls = !options.get<std::string>("tls-cert").empty();
  log.write(Log::Level::info, "listening", {{"address", address.host}, {"port", port}, {"tls", tls}});
  const bool loopback = address.host.starts_with("127.") || address.host == "::1";
  const bool known =
      !options.get<std::string>("token-file").empty() || !options.get<std::string>("tls-client-ca").empty();
  if (!loopback && !known)
    log.write(Log::Level::warning, "open",
              {{"why", "every machine that reaches this address may use the model: set --token-file"}});
  if (!loopback && !tls)
    log.write(
        Log::Level::warning, "clear",
        {{"why", "prompts, answers and tokens cross the network in clear: set --tls-cert and --tls-key"}});
  return {};
}

}  // namespace dgq::tools
