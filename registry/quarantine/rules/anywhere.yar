// Structures that neither texts nor weights form by chance. Sources: ELF specification and gABI (e_ident, e_machine),
// Microsoft PE format, Apple mach-o/loader.h, WebAssembly binary format, PKWARE APPNOTE, POSIX ustar, Python's
// pickletools, RFC 7468, EICAR. No more than 1,000 places of a pattern are kept in a window; a structure that comes as
// often is no chance, so a flood of half ones does not hide a whole one.

rule elf_program {
    meta:
        meaning = "a Linux program (ELF)"
    strings:
        // class, byte order, version 1, ABI, padding; type; machine (x86, ARM, x86-64, AArch64, RISC-V …); version 1
        $little = { 7F 45 4C 46 (01 | 02) 01 01 ?? ?? 00 00 00 00 00 00 00 (01 | 02 | 03 | 04) 00
                    (03 | 08 | 14 | 15 | 16 | 28 | 2A | 32 | 3E | B7 | F3 | 02) (00 | 01) 01 00 00 00 }
        $big = { 7F 45 4C 46 (01 | 02) 02 01 ?? ?? 00 00 00 00 00 00 00 00 (01 | 02 | 03 | 04)
                 00 (02 | 08 | 12 | 14 | 15 | 16 | 2B) 00 00 00 01 }
    condition:
        any of them
}

rule windows_program {
    meta:
        meaning = "a Windows program (PE)"
    strings:
        // PE signature, machine, 1 to 96 sections, size of the optional header, its magic
        $pe = { 50 45 00 00 ?? (01 | 86 | AA) ?? 00 [12] (E0 | F0) 00 ?? ?? 0B (01 | 02) }
    condition:
        // the first header lies before, and its word at 60 says where this one is: on a multiple of 4, within 4 KiB
        #pe >= 1000 or for any i in (1..#pe) : (
            for any k in (1..1023) : (
                uint16(@pe[i] - 4 * k) == 0x5A4D and uint32(@pe[i] - 4 * k + 60) == 4 * k
            )
        )
}

rule macos_program {
    meta:
        meaning = "a macOS program (Mach-O)"
    strings:
        // magic, processor, its variant, file type
        $wide = { CF FA ED FE (07 | 0C) 00 00 01 ?? 00 00 (00 | 80) (01 | 02 | 06 | 07 | 08 | 09 | 0A | 0B) 00 00 00 }
        $narrow = { CE FA ED FE (07 | 0C) 00 00 00 ?? 00 00 (00 | 80) (01 | 02 | 06 | 07 | 08 | 09 | 0A | 0B) 00 00 00 }
        $fat = { CA FE BA BE 00 00 00 (01 | 02 | 03 | 04) (00 | 01) 00 00 (07 | 0C) ?? 00 00 ?? 00 }
    condition:
        any of them
}

rule wasm_program {
    meta:
        meaning = "a WebAssembly program"
    strings:
        $module = { 00 61 73 6D 01 00 00 00 (00 | 01 | 02 | 03 | 04 | 05 | 06 | 07 | 08 | 09 | 0A | 0B | 0C) }
    condition:
        $module
}

rule zip_archive {
    meta:
        meaning = "a zip archive"
    strings:
        // local file header: version, flags, method, time, checksum, sizes, name's length; the name follows
        $entry = { 50 4B 03 04 (0A | 14 | 2D | 2E | 33 | 3F) (00 | 03) ?? (00 | 08)
                   (00 | 08 | 09 | 0C | 0E | 5D | 5F | 63) 00 [16] ?? (00 | 01) ?? (00 | 01 | 02) }
    condition:
        #entry >= 1000 or for any i in (1..#entry) : (
            uint16(@entry[i] + 26) > 0 and uint8(@entry[i] + 30) >= 0x20 and uint8(@entry[i] + 30) < 0x7F
        )
}

rule tar_archive {
    meta:
        meaning = "a tar archive"
    strings:
        $ustar = { 75 73 74 61 72 (00 30 30 | 20 20 00) }
    condition:
        // the mode and the checksum of the entry are octal digits
        #ustar >= 1000 or for any i in (1..#ustar) : (
            @ustar[i] >= 257
            and uint8(@ustar[i] - 156) >= 0x30 and uint8(@ustar[i] - 156) <= 0x37
            and uint8(@ustar[i] - 108) >= 0x30 and uint8(@ustar[i] - 108) <= 0x37
        )
}

rule pickle_frame {
    meta:
        meaning = "a Python pickle, which is a program"
    strings:
        // protocol 4 or 5 and a frame of less than 4 GiB, then an operation that may begin one
        $frame = { 80 (04 | 05) 95 ?? ?? ?? ?? 00 00 00 00 (28 | 29 | 4E | 5D | 63 | 7D | 8C | 8E | 8F | 42 | 43 | 58) }
    condition:
        $frame
}

rule eicar_test {
    meta:
        meaning = "the EICAR test file, which every virus scanner must report"
    strings:
        // written as bytes, so that these rules themselves are not reported
        $eicar = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 }
    condition:
        $eicar
}

rule private_key {
    meta:
        meaning = "a private key"
    strings:
        // lines end with a byte, or with the two characters that stand for it in JSON
        $pem = /-----BEGIN (RSA |EC |DSA |OPENSSH |ENCRYPTED )?PRIVATE KEY-----([\r\n]|\\r|\\n){1,4}[A-Za-z0-9+\/=:,\-\\ \r\n]{60}/
    condition:
        $pem
}
