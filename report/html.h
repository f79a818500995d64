// report/html.h - a self-contained HTML page around charts and tables: one file, nothing fetched, readable on a phone, in the dark
// and on paper. The pieces are well-formed XML, and put together by adding strings.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace dgq {

// In these, strings are plain text, which is escaped here, unless they are called `html` or `charts`.

// The whole file.
std::string html_page(const std::string& title, const std::string& html);
std::string html_section(const std::string& heading, const std::string& html);
std::string html_paragraph(const std::string& text);
// Charts side by side, as many as fit.
std::string html_charts(const std::vector<std::string>& charts);
// Names and values.
std::string html_facts(const std::vector<std::pair<std::string, std::string>>& facts);
// titles: one that starts with '>' aligns its column to the right. Rows are as long as titles.
std::string html_table(const std::string& caption, const std::vector<std::string>& titles,
                       const std::vector<std::vector<std::string>>& rows);
// As it is, line breaks and all; closed until someone opens it.
std::string html_details(const std::string& summary, const std::string& text);

}  // namespace dgq
