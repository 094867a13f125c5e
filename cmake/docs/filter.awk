# SPDX-License-Identifier: Apache-2.0
# Doxygen's input filter: awk -f filter.awk glossary.txt header.hpp
# The names that every class of grape has mean the same in each (batch(), heads(), Scalar, ..): the
# glossary says what, once, and a member that has no comment of its own gets that sentence. The
# inline namespace is left out. Lines keep their numbers.
FNR == NR {
  if (split($0, entry, "\t") == 2) meaning[entry[1]] = entry[2]
  next
}
FNR == 1 { in_class = 0; documented = 0 }
{ sub(/grape::inline v0/, "grape") }
/^namespace detail \{/ { sub(/^/, "/** @cond */ ") }
/^\}  \/\/ namespace detail/ { sub(/$/, " /** @endcond */"); sub(/ *\/\/ namespace detail/, "") }
/^(class|struct) [^;]*$/ { in_class = 1 }
/^};/ { in_class = 0 }
/^ *\/\/\// { documented = 1; print; next }
/^ *(template|requires)/ && !/;/ { print; next }
{
  name = ""
  if (in_class && !documented && /^  ( *requires.* )?[A-Za-z_~]/ && !/\/\/\/</) {
    line = $0
    if (line ~ /^  using [A-Za-z_]+ =/) {
      split(line, word, " ")
      name = word[2]
    } else if (line ~ /^  using typename [A-Za-z_:]+;/) {
      name = line
      sub(/.*::/, "", name)
      sub(/;.*/, "", name)
    } else if (line ~ /^  (enum class|enum) /) {
      name = line
      sub(/^  enum (class )?/, "", name)
      sub(/[ {:].*/, "", name)
    } else if (line !~ /^  (return|if|for|using|friend|static_assert|public|private|struct|class)/) {
      name = line
      if (name ~ /operator\(\)/) {
        name = "operator()"
      } else {
        sub(/[({;=].*/, "", name)
        sub(/,.*/, "", name)
        if (line ~ /operator=\(/) name = "operator="
        if (line ~ /operator==\(/) name = "operator=="
        if (line ~ /operator\*\(/) name = "operator*"
        if (line ~ /operator\[\]\(/) name = "operator[]"
        sub(/ +$/, "", name)
        sub(/.*[ *&]/, "", name)
      }
    }
  }
  documented = 0
  if (name in meaning) sub(/^ */, "&/** " meaning[name] " */ ")
  print
}
