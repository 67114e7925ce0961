// For tensors alone: scripts, whose words a vocabulary may well have.

rule script {
    meta:
        meaning = "a script among the weights"
    strings:
        $shebang = /#![ \t]?\/(usr\/|opt\/)?(local\/)?s?bin\/(env[ \t]+(-S[ \t]+)?)?(bash|dash|zsh|ksh|csh|sh|python[0-9.]{0,5}|perl|ruby|node|php|pwsh|lua|awk|tclsh|osascript)[ \t\r\n]/
        $batch = /@echo off\r?\n/ nocase
        $php = /<\?php\s/
        $html = /<script[ >]/ nocase
        $powershell = /powershell(\.exe)?\s+-/ nocase
    condition:
        any of them
}
