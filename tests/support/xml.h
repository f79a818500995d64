// tests/support/xml.h - a strict reader of the XML that we write (no DTD, CDATA or processing instructions), so that tests see
// elements, not text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dgq::test {

struct XmlElement {
  std::string name, text;  // text: its own and its children's, entities decoded
  std::map<std::string, std::string> attributes;
  std::vector<XmlElement> children;

  // Of this and all below, those with the name (and with the word in "class").
  std::vector<const XmlElement*> all(const std::string& wanted, const std::string& css = "") const {
    std::vector<const XmlElement*> found;
    collect(wanted, css, found);
    return found;
  }

 private:
  void collect(const std::string& wanted, const std::string& css,
               std::vector<const XmlElement*>& found) const {
    const auto classes = attributes.find("class");
    const std::string words = classes == attributes.end() ? " " : " " + classes->second + " ";
    if (name == wanted && (css.empty() || words.find(" " + css + " ") != words.npos)) found.push_back(this);
    for (const XmlElement& child : children) child.collect(wanted, css, found);
  }
};

class XmlReader {
 public:
  // The root element; `fault` says where and why when there is none.
  static std::optional<XmlElement> read(std::string_view text, std::string& fault) {
    XmlReader reader(text);
    reader.skip_space();
    if (reader.rest_.starts_with("<!DOCTYPE html>")) reader.rest_.remove_prefix(15);
    reader.skip_space();
    XmlElement root;
    if (reader.element(root)) {
      reader.skip_space();
      if (reader.rest_.empty()) return root;
      reader.fail("text after the root element");
    }
    fault = reader.fault_;
    return std::nullopt;
  }

 private:
  explicit XmlReader(std::string_view text) : rest_(text) {}

  bool fail(const std::string& why) {
    if (fault_.empty()) fault_ = why + " before: " + std::string(rest_.substr(0, 80));
    return false;
  }
  void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n\t"), rest_.size())); }
  bool take(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  std::string word() {
    const std::size_t size =
        std::min(rest_.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:"),
                 rest_.size());
    const std::string out(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return out;
  }

  // Characters up to `end`, which stays.
  bool characters(char end, std::string& out) {
    while (!rest_.empty() && rest_.front() != end) {
      const auto c = static_cast<unsigned char>(rest_.front());
      if (c == '<' || (c < 0x20 && c != '\n' && c != '\t')) return fail("a character that must be escaped");
      if (c != '&') {
        out += rest_.front();
        rest_.remove_prefix(1);
      } else if (!entity(out)) {
        return false;
      }
    }
    return !rest_.empty() || fail("the end");
  }
  bool entity(std::string& out) {
    static const std::map<std::string_view, char> kEntities = {
        {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}};
    for (const auto& [name, c] : kEntities)
      if (take(name)) {
        out += c;
        return true;
      }
    return fail("an unknown entity");
  }

  bool attributes(XmlElement& to) {
    while (true) {
      const std::size_t before = rest_.size();
      skip_space();
      if (rest_.starts_with(">") || rest_.starts_with("/>")) return true;
      if (rest_.size() == before) return fail("no space");
      const std::string name = word();
      std::string value;
      if (name.empty() || !take("=\"") || !characters('"', value) || !take("\""))
        return fail("a bad attribute");
      if (!to.attributes.emplace(name, value).second) return fail("an attribute twice");
    }
  }

  bool element(XmlElement& to) {
    if (!take("<")) return fail("no element");
    to.name = word();
    if (to.name.empty() || !attributes(to)) return fail("a bad tag");
    if (take("/>")) return true;
    take(">");
    while (!take("</")) {
      if (rest_.starts_with("<")) {
        to.children.emplace_back();
        if (!element(to.children.back())) return false;
        to.text += to.children.back().text;
      } else if (!characters('<', to.text)) {
        return false;
      }
    }
    return (word() == to.name && take(">")) || fail("a wrong end tag, not of " + to.name);
  }

  std::string_view rest_;
  std::string fault_;
};

}  // namespace dgq::test
