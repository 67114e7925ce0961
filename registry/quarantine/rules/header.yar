// For metadata alone: texts that act when a careless program shows, renders or runs them. Each asks for more than one
// word of a vocabulary, whose words are parted by lengths with NUL bytes. Where a pattern lets anything stand between its
// words it leaves out the sign that it begins with, so that a flood of beginnings costs no more than any other text.

rule php_script {
    meta:
        meaning = "a PHP script in the metadata"
    strings:
        $code = /<\?(php\s|=)[^\x00<]{0,80}(eval|assert|system|exec|shell_exec|passthru|popen|base64_decode|file_get_contents|file_put_contents|include|require|\$_(GET|POST|REQUEST|COOKIE|SERVER))\s*[(\[]/ nocase
    condition:
        $code
}

rule jsp_script {
    meta:
        meaning = "a JSP script in the metadata"
    strings:
        $code = /<%[@=!]?[^\x00%]{0,120}(Runtime\s*\.\s*getRuntime|ProcessBuilder|request\s*\.\s*getParameter|\.getInputStream)/
    condition:
        $code
}

rule html_script {
    meta:
        meaning = "a web page's script in the metadata"
    strings:
        $source = /<script[^\x00<>]{0,100}\ssrc\s*=\s*["']?\s*(https?:)?\/\// nocase
        $inline = /<script[^\x00<>]{0,100}>[^\x00<]{0,100}(document\s*\.|window\s*\.|fetch\s*\(|XMLHttpRequest|eval\s*\(|atob\s*\(|sendBeacon)/ nocase
        $event = /<[a-z]{1,12}\s[^\x00<>]{0,100}\bon[a-z]{3,20}\s*=[^\x00<>]{0,60}(document\s*\.|window\s*\.|fetch\s*\(|XMLHttpRequest|eval\s*\(|atob\s*\(|sendBeacon)/ nocase
        $address = /["'\s=]javascript:[^\x00:]{0,60}(document\s*\.|window\s*\.|fetch\s*\(|eval\s*\(|atob\s*\()/ nocase
    condition:
        any of them
}

rule encoded_powershell {
    meta:
        meaning = "an encoded PowerShell command in the metadata"
    strings:
        $command = /powershell(\.exe)?["']?(\s{1,4}-[a-z]{1,20}(\s{1,4}[a-z0-9]{1,16})?){0,6}\s{1,4}-e(c|nc|nco|ncod|ncode|ncoded|ncodedc[a-z]{0,6})?\s{1,4}["']?[A-Za-z0-9+\/]{40}/ nocase
    condition:
        $command
}

rule reverse_shell {
    meta:
        meaning = "a command that gives the machine away (reverse shell) in the metadata"
    strings:
        $bash = /sh\s{1,4}-i\s{0,4}[0-9]{0,2}>&?\s{0,4}\/dev\/(tcp|udp)\// nocase
        $netcat = /\b(nc|ncat|netcat)\s[^\x00\n]{0,80}-(e|c)\s{1,4}\/?[a-z\/]{0,20}(ba|da|z)?sh\b/ nocase
        $python = /os\s{0,4}\.\s{0,4}dup2\s{0,4}\(\s{0,4}[a-z_][a-z0-9_]{0,15}\s{0,4}\.\s{0,4}fileno\s{0,4}\(/
    condition:
        any of them
}

rule credential {
    meta:
        meaning = "a credential in the metadata"
    strings:
        $aws = /\bA(KIA|SIA)[0-9A-Z]{16}\b/
        $aws_example = /\bA(KIA|SIA)[0-9A-Z]{9}EXAMPLE\b/
        $github = /\b(ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36}\b/
        $github_fine = /\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b/
        $gitlab = /\bglpat-[A-Za-z0-9_\-]{20}\b/
        $huggingface = /\bhf_[A-Za-z]{34}\b/
        $slack = /\bxox[abprs]-[0-9]{8,14}-[0-9A-Za-z\-]{20,80}\b/
        $google = /\bAIza[0-9A-Za-z_\-]{35}\b/
        $anthropic = /\bsk-ant-[a-z0-9]{4,8}-[A-Za-z0-9_\-]{80,120}/
        $openai = /\bsk-(proj-)?[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}\b/
    condition:
        $github or $github_fine or $gitlab or $huggingface or $slack or $google or $anthropic or $openai
        or for any i in (1..#aws) : (not $aws_example at @aws[i])
}
