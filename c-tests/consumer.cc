// A C++ program outside the project: built by run.sh against the installed
// library through pkg-config, and run.  Its argument is the log's directory.
#include <twal.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

void check(int code)
{
    if (code == TWAL_OK)
        return;
    twal_error error = TWAL_ERROR_INIT;
    twal_last_error(&error);
    throw std::runtime_error(std::string(twal_strerror(code)) + ": " + error.text);
}

struct CloseIter {
    void operator()(twal_iter *iter) const { twal_iter_close(iter); }
};

class Log {
public:
    explicit Log(const std::string &dir)
    {
        twal_options options = TWAL_OPTIONS_INIT;
        options.segment_size = 1 << 20;
        check(twal_open(dir.c_str(), &options, &log_));
    }
    ~Log()
    {
        if (log_)
            twal_close(log_);
    }
    Log(const Log &) = delete;
    Log &operator=(const Log &) = delete;

    std::uint64_t append(const std::string &text)
    {
        std::uint64_t seq = 0;
        check(twal_append(log_, text.data(), text.size(), &seq));
        return seq;
    }

    std::vector<std::string> read() const
    {
        std::vector<std::string> all;
        twal_iter *raw = nullptr;
        check(twal_recover_iter(log_, 0, &raw));
        std::unique_ptr<twal_iter, CloseIter> iter(raw);
        twal_record record;
        int answer;
        while ((answer = twal_iter_next(iter.get(), &record)) == 1)
            all.emplace_back(static_cast<const char *>(record.data), record.len);
        check(answer);
        return all;
    }

    void close()
    {
        twal_log *log = log_;
        log_ = nullptr;
        check(twal_close(log));
    }

private:
    twal_log *log_ = nullptr;
};

} // namespace

int main(int argc, char **argv)
try {
    if (argc != 2)
        throw std::runtime_error("usage: consumer DIR");
    std::size_t before = 0;
    {
        Log log(argv[1]);
        before = log.read().size();
        std::vector<std::thread> threads;
        for (int n = 0; n < 4; n++)
            threads.emplace_back([&log, n] {
                for (int k = 0; k < 50; k++)
                    log.append("thread " + std::to_string(n) + " record " + std::to_string(k));
            });
        for (auto &thread : threads)
            thread.join();
        log.close();
    }
    Log log(argv[1]);
    auto all = log.read();
    if (all.size() != before + 200)
        throw std::runtime_error("records are missing");
    try {
        check(twal_append(nullptr, nullptr, 0, nullptr));
        throw std::logic_error("a NULL handle was accepted");
    } catch (const std::runtime_error &expected) {
        std::printf("as it should: %s\n", expected.what());
    }
    std::printf("twal %s from C++: %zu records\n", twal_version_string(), all.size());
    log.close();
    return EXIT_SUCCESS;
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return EXIT_FAILURE;
}
