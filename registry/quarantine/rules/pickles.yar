// Calls inside pickles. Source: Python's pickletools. A file of their own: yara-x searches for few patterns many times
// faster than for somewhat more, so that two searches cost less than one for all.

rule pickle_call {
    meta:
        meaning = "a call in a Python pickle, which is a program"
    strings:
        // GLOBAL: module and name on a line each
        $call = /c(os|posix|nt|pty|sys|subprocess|commands|runpy|builtins|__builtin__|importlib|ctypes|socket|shutil|marshal|_pickle|pickle|bdb|timeit|webbrowser)\n(system|popen|spawn|spawnl|execv|execve|execl|Popen|run|call|check_call|check_output|getoutput|run_path|run_module|_run_code|eval|exec|execfile|compile|__import__|getattr|apply|open|import_module|CDLL|socket|create_connection|rmtree|loads|timeit|startfile)\n/
        // STACK_GLOBAL: two short texts, each perhaps memoised
        $stack = /\x8c.(os|posix|nt|pty|sys|subprocess|commands|runpy|builtins|__builtin__|importlib|ctypes|socket|shutil|marshal|_pickle|pickle|bdb|timeit|webbrowser)\x94?\x8c.(system|popen|spawn|spawnl|execv|execve|execl|Popen|run|call|check_call|check_output|getoutput|run_path|run_module|_run_code|eval|exec|compile|__import__|getattr|open|import_module|CDLL|socket|create_connection|rmtree|loads|timeit|startfile)\x94?\x93/s
        $torch = /c(torch\._utils\n_rebuild_|torch\n[A-Z][A-Za-z]{2,10}Storage\n|numpy\.core\.multiarray\n|numpy\._core\.multiarray\n|collections\nOrderedDict\n|copy_reg\n_reconstructor\n|copyreg\n_reconstructor\n)/
    condition:
        any of them
}
