// agent/status_page.h - the page of GET /status (agent/status/): one file, nothing of it comes from
// elsewhere.
#pragma once

#include <string>

namespace dgq::agent {

struct StatusPage {
  std::string html;
  std::string
      headers;  // whole lines: the browser runs this script, loads nothing, and shows the page in no frame
};
const StatusPage& status_page();

}  // namespace dgq::agent
