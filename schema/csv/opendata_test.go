package csv_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"

	"lakefeed/schema/csv"
)

// repeat makes n lines of a format, of which %[1]d is the line's number.
func repeat(n int, format string) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// rows makes a row of each word, behind its number.
func rows(words string) (text string) {
	for i, word := range strings.Fields(words) {
		text += fmt.Sprintf("%d,%s\n", i+1, word)
	}
	return text
}

// wrapped puts each line into quotes, and doubles those that it has.
func wrapped(lines string) string {
	return "\"" + strings.ReplaceAll(strings.TrimSuffix(strings.ReplaceAll(lines, "\"", "\"\""), "\n"), "\n", "\"\n\"") + "\"\n"
}

func encoded(t *testing.T, e encoding.Encoding, text string) string {
	t.Helper()
	out, err := e.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOpenData reads what offices, instruments and programs write: each case has
// one cause that deploy/docs/csv.md names.
func TestOpenData(t *testing.T) {
	for _, c := range []struct {
		name, text string
		dialect    string // delimiter, quote, escape, encoding where it is not utf-8, "+trailing", comment
		columns    string // joined by |; "-" for no header
		rows       int
		first      string // the first row as RFC 4180
		outside    string // rule and number of the rejects
	}{
		{"a title and a blank line", "Population by district\n\ndistrict,men,women\n" + repeat(9, "D%[1]d,%[1]d2,%[1]d3\n"), ",", "district|men|women", 9, "D1,12,13", ""},
		{"titles with delimiters of a spreadsheet", "Population by district,,\n,,\ndistrict,men,women\n" + repeat(9, "D%[1]d,%[1]d2,%[1]d3\n"), ",", "district|men|women", 9, "D1,12,13", ""},
		{"keys and values before the table", "Station;Zürich\nFrom;2020-01-01\nUnit;mm\n\ndate;rain;sun\n" + repeat(20, "2020-02-%02[1]d;0,%[1]d;%[1]d\n"), ";", "date|rain|sun", 20, `2020-02-01,"0,1",1`, ""},
		{"a title with a comma", "Deaths, by cause\nSource: office\n\nyear,cause,n\n" + repeat(9, "200%[1]d,flu,%[1]d\n"), ",", "year|cause|n", 9, "2001,flu,1", ""},
		{"units under the names", "time,speed,temp\ns,m/s,°C\n" + repeat(9, "%[1]d,%[1]d.5,-%[1]d\n"), ",", "time s|speed m/s|temp °C", 9, "1,1.5,-1", ""},
		{"units, and a column without a name", ";male;female\n;number;number\n" + repeat(9, "0%[1]d;%[1]d;%[1]d\n"), ";", "|male number|female number", 9, "01,1,1", ""},
		{"dashes under the names", "ID|NAME|V\n--|----|---\n" + repeat(9, "%[1]d|x|%[1]d.5\n"), "|", "ID|NAME|V", 9, "1,x,1.5", ""},
		{"empty names behind the others", "a,b,c,,,\n" + repeat(9, "%[1]d,x,y\n"), ",", "a|b|c", 9, "1,x,y", ""},
		{"a licence as wide as the table", "You may use, copy, and share this.\nIt comes, as it is, from us.\n\nid,v,w\n" + repeat(9, "%[1]d,%[1]d,x\n"), ",", "id|v|w", 9, "1,1,x", ""},
		{"bars in texts", "id;title\n" + repeat(9, "%[1]d;News | Politics | Today\n"), ";", "id|title", 9, "1,News | Politics | Today", ""},
		{"pairs of decimal commas", "id;place\n" + repeat(9, "%[1]d;52,%[1]d, 13,%[1]d\n"), ";", "id|place", 9, `1,"52,1, 13,1"`, ""},
		{"quotes amid words behind tabs", "id\ttext\n" + repeat(9, "%[1]d\t\"so\" called 5\" pipe\n"), "\t", "id|text", 9, `1,"""so"" called 5"" pipe"`, ""},
		{"units that dates have not", "Date,Rain (mm),Temp\n,[mm],[C]\n" + repeat(28, "2020-01-%02[1]d,%[1]d.5,%[1]d\n"), ",", "Date|Rain (mm) [mm]|Temp [C]", 28, "2020-01-01,1.5,1", ""},
		{"the name of the first column below the others", "Table 1: People,,,\n,,,\n,Men,Women,All\nAge,,,\n" + repeat(20, "%[1]d,%[1]d3,%[1]d4,%[1]d7\n"), ",", "Age|Men|Women|All", 20, "1,13,14,17", ""},
		{"a line that psql draws", "id | name | v \n---+------+---\n" + repeat(20, "%[1]d | n%[1]d | %[1]d.5\n") + "(20 rows)\n", " | ", "id|name|v ", 20, "1,n1,1.5", "footer 1"},
		{"keys and values as wide as the table, without colons", "Report;Air;\nCity;Wien;\nDate;PM10;NO2\n" + repeat(28, "2020-01-%02[1]d;%[1]d;%[1]d2\n"), ";", "Date|PM10|NO2", 28, "2020-01-01,1,12", ""},
		{"remarks of which one has a comma", "a,b,c\n" + repeat(20, "x%[1]d,%[1]d,%[1]d\n") + "\nNotes:,,\n1. Figures are rounded, so totals may differ,,\n2. Source: Office,,\n", ",", "a|b|c", 20, "x1,1,1", "footer 3"},
		{"columns of one text", "a,b,c\n" + strings.Repeat("NULL,x,\\N\n", 10), ",", "a|b|c", 10, `NULL,x,\N`, ""},
		{"names over codes of their length", "code,cc\n" + repeat(20, "X%03[1]d,DE\n"), ",", "code|cc", 20, "X001,DE", ""},
		{"codes over codes", repeat(20, "X%03[1]d,DE\n"), ",", "-", 20, "X001,DE", ""},
		{"signs of money", "Party;Amount\n" + repeat(20, "P%[1]d;€%[1]d\u00a0000,00\n"), ";", "Party|Amount", 20, "P1,\"€1\u00a0000,00\"", ""},
		{"names on three levels", "Region;All;;;Area\n;Sum;of these;;\n;;men;women;\n" + repeat(9, "R%[1]d;%[1]d;%[1]d;0;%[1]d,5\n"), ";", "Region|All Sum|of these men|women|Area", 9, `R1,1,1,0,"1,5"`, ""},
		{"a year as the only name of values", "Country;2019\n" + repeat(9, "C%[1]d;%[1]d,%[1]d\n"), ";", "Country|2019", 9, `C1,"1,1"`, ""},
		{"a number as title", "2020,,\nid,v,w\n" + repeat(9, "%[1]d,%[1]d,x\n"), ",", "id|v|w", 9, "1,1,x", ""},
		{"a key and its value as wide as the table", "Report,,\nDate:,2020-01-01,\nid,v,w\n" + repeat(9, "%[1]d,%[1]d,x\n"), ",", "id|v|w", 9, "1,1,x", ""},
		{"remarks with commas", "a,b,c\n" + repeat(9, "x%[1]d,%[1]d,%[1]d\n") + "\nSource: Office, Census 2011, table 3\nNotes: 1, rounded\n", ",", "a|b|c", 9, "x1,1,1", "footer 2"},
		{"a faulty row behind a blank line", "id,b,c\n" + repeat(9, "%[1]d,%[1]d,x\n") + "\nx,Tokio,Japan\n", ",", "id|b|c", 10, "1,1,x", ""},
		{"another part behind a blank line", "a,b,c\n" + repeat(9, "x%[1]d,%[1]d,%[1]d\n") + "\nNorth,,\ny,1,2\n", ",", "a|b|c", 11, "x1,1,1", ""},
		{"lines of spaces", "a,b\n1,2\n   \n3,4\n \t \n", ",", "a|b", 2, "1,2", ""},
		{"kanji that stand alone", encoded(t, japanese.ShiftJIS, "都道府県,人口\n"+repeat(9, "県%[1]d,%[1]d00\n")), ",shift_jis", "都道府県|人口", 9, "県1,100", ""},
		{"groups over the names", ",2019,,2020,\nname,q1,q2,q1,q2\n" + repeat(9, "n%[1]d,%[1]d,%[1]d,%[1]d,%[1]d\n"), ",", "name|2019 q1|q2|2020 q1|q2", 9, "n1,1,1,1,1", ""},
		{"a source below", "a,b,c\n" + repeat(9, "x%[1]d,%[1]d,y\n") + "\nSource: Office, 2020\n* provisional\n", ",", "a|b|c", 9, "x1,1,y", "footer 2"},
		{"notes with delimiters of a spreadsheet", "a;b;c\n" + repeat(9, "x%[1]d;%[1]d;y\n") + ";;\nNote: estimated;;\n", ";", "a|b|c", 9, "x1,1,y", "footer 2"},
		{"totals are rows", "a;b;c\n" + repeat(9, "x%[1]d;%[1]d;y\n") + "Total;45;\n", ";", "a|b|c", 10, "x1,1,y", ""},
		{"a last row that is short", "a,b,c\n" + repeat(9, "x%[1]d,%[1]d,y\n") + "x10,10\n", ",", "a|b|c", 10, "x1,1,y", ""},
		{"another table below", "a,b,c\n" + repeat(9, "x%[1]d,%[1]d,y\n") + "\nTable 2\nname,n\n" + repeat(5, "z%[1]d,%[1]d\n"), ",", "a|b|c", 9, "x1,1,y", "second_table 7"},
		{"the file twice", "a,b,c\n" + repeat(9, "x%[1]d,%[1]d,y\n") + "a,b,c\n" + repeat(9, "w%[1]d,%[1]d,y\n"), ",", "a|b|c", 18, "x1,1,y", ""},
		{"rows that are short at first", "1,2\n3,4\n" + repeat(9, "%[1]d,1,2\n"), ",", "-", 11, "1,2", ""},
		{"rows of any width", "a,b,c\n1,2\n" + repeat(4, "%[1]d,2,3\n%[1]d,2\n4\n"), ",", "a|b|c", 13, "1,2", ""},
		{"a second column without a name", "id,\n" + repeat(9, "%[1]d,x%[1]d\n"), ",", "id|", 9, "1,x1", ""},
		{"a title over two columns", "People,\nid,name\n" + repeat(9, "%[1]d,x%[1]d\n"), ",", "id|name", 9, "1,x1", ""},
		{"a column more from some row on", "a,b,c\n" + repeat(30, "x%[1]d,y,z\n") + repeat(60, "x%[1]d,y,z,w\n"), ",", "a|b|c", 90, "x1,y,z", ""},
		{"a column less from some row on", "a,b,c\n" + repeat(60, "x%[1]d,y,z\n") + repeat(30, "x%[1]d,y\n"), ",", "a|b|c", 90, "x1,y,z", ""},
		{"the same row always", strings.Repeat("some text,1234567890\n", 99), ",", "-", 99, "some text,1234567890", ""},
		{"the same row first", "u,v\nu,v\nw,x\ny,z\n", ",", "u|v", 2, "w,x", ""},
		{"decimal commas", "Ort;Wert\n" + repeat(9, "Ort %[1]d;%[1]d,25\n"), ";", "Ort|Wert", 9, `Ort 1,"1,25"`, ""},
		{"tabs and commas", "id\tname\tamount\n" + repeat(9, "%[1]d\tDoe, Jane\t1,%[1]d00\n"), "\t", "id|name|amount", 9, `1,"Doe, Jane","1,100"`, ""},
		{"all cells quoted", "\"a\",\"b\"\r\n" + repeat(9, "\"%[1]d\",\"x, y\"\r\n"), ",", "a|b", 9, `"1","x, y"`, ""},
		{"quotes in quotes", "a;b\n" + repeat(9, "%[1]d;\"say \"hi; you\" to me\"\n"), ";", "a|b", 9, `1,"say ""hi; you"" to me"`, ""},
		{"inches", "size,n\n" + repeat(9, "5\" pipe,%[1]d\n"), ",", "size|n", 9, `"5"" pipe",1`, ""},
		{"spaces behind delimiters", "a, b, c\n" + repeat(9, "%[1]d, \"x, y\", z\n"), ", ", "a|b|c", 9, `1,"x, y",z`, ""},
		{"spaces before quotes", "a,   b,  c\n" + repeat(9, "%[1]d,   \"x, y\",  \"z\"\n"), ",+padded", "a|   b|  c", 9, `1,"x, y",z`, ""},
		{"spaces around quotes", "a ,b ,c\n" + repeat(9, "%[1]d ,  \"x, \"\"y\" , 2\n"), ",+padded", "a |b |c", 9, `1 ,"x, ""y", 2`, ""},
		{"line breaks without quotes", "a,b,c\r\n" + repeat(9, "%[1]d,x,y\r\n") + "10,one\ntwo,z\r\n11,a\rb,c\r\n", ",+crlf", "a|b|c", 11, "1,x,y", ""},
		{"carriage returns amid cells", "a,b,c\n" + repeat(9, "%[1]d,x,y\n") + "10,one\rtwo,z\n", ",+lf", "a|b|c", 10, "1,x,y", ""},
		{"as many words in each text", "n,text\n" + repeat(9, "A%[1]d,the quick brown fox jumps over\n"), ",", "n|text", 9, "A1,the quick brown fox jumps over", ""},
		{"as many words in all cells", "full name;home town\n" + repeat(9, "Ann B C D E F;New York City of M N %[1]d\n"), ";", "full name|home town", 9, "Ann B C D E F,New York City of M N 1", ""},
		{"backslashes", "a,b\n" + repeat(9, "%[1]d,\"say \\\"hi, you\\\"\"\n"), ",\\", "a|b", 9, `1,"say ""hi, you"""`, ""},
		{"apostrophes as quotes", "a,b\n" + repeat(9, "%[1]d,'x, y'\n"), ",'", "a|b", 9, `1,"x, y"`, ""},
		{"apostrophes", "a,b\n" + repeat(9, "%[1]d,'tis fine\n"), ",", "a|b", 9, `1,'tis fine`, ""},
		{"a delimiter behind each record", repeat(9, "%[1]d|x|2020-01-01|\n"), "|+trailing", "-", 9, "1,x,2020-01-01", ""},
		{"a delimiter behind each row", "a|b|c\n" + repeat(9, "%[1]d|x|2020-01-01|\n"), "|+trailing", "a|b|c", 9, "1,x,2020-01-01", ""},
		{"empty columns of a spreadsheet", "a,b,,\n" + repeat(9, "%[1]d,x,,\n"), ",", "a|b||", 9, "1,x,,", ""},
		{"row numbers without a name", "name,n\n" + repeat(9, "%[1]d,x%[1]d,%[1]d\n"), ",", "|name|n", 9, "1,x1,1", ""},
		{"a header with a delimiter more", "a,,b,c\n" + repeat(9, "%[1]d,x,%[1]d\n"), ",", "a|b|c", 9, "1,x,1", ""},
		{"a header with another delimiter", "a;b;c\n" + repeat(9, "%[1]d,x,%[1]d\n"), ",", "a|b|c", 9, "1,x,1", ""},
		{"years as names", "country,2018,2019,2020\n" + repeat(9, "C%[1]d,%[1]d,%[1]d00,%[1]d\n"), ",", "country|2018|2019|2020", 9, "C1,1,100,1", ""},
		{"days as names", "place,2020-01-01,2020-01-02\n" + repeat(9, "C%[1]d,%[1]d,%[1]d\n"), ",", "place|2020-01-01|2020-01-02", 9, "C1,1,1", ""},
		{"numbers as names", "0,1,2,3\n" + repeat(9, "0.%[1]d,1.%[1]d,7.5,x\n"), ",", "0|1|2|3", 9, "0.1,1.1,7.5,x", ""},
		{"only text", "Vorname,Ort\nHans,Köln\nIna,Bonn\nUte,Ulm\nJan,Kiel\n", ",", "Vorname|Ort", 4, "Hans,Köln", ""},
		{"only text without a header", "a@b.de,Köln\nc@d.de,Bonn\ne@f.de,Ulm\ng@h.de,Bonn\n", ",", "-", 4, "a@b.de,Köln", ""},
		{"one column of numbers", "n\n" + repeat(9, "%[1]d\n"), ",", "n", 9, "1", ""},
		{"comments amid the rows", "# made today\na,b,c\n1,2,3\n# corrected, again\n4,5,6\n", ",#", "a|b|c", 2, "1,2,3", ""},
		{"a name with the mark of comments", "#chrom,start\nchr1,100\nchr2,200\n", ",", "#chrom|start", 2, "chr1,100", ""},
		{"spaces", "a b c\n" + repeat(9, "%[1]d \"x y\" 2.5\n"), " ", "a|b|c", 9, "1,x y,2.5", ""},
		{"colons", "code:name\n" + repeat(9, "A%[1]d:x y\n"), ":", "code|name", 9, "A1,x y", ""},
		{"colons of keys", repeat(9, "key%[1]d: value\n"), ",", "-", 9, "key1: value", ""},
		{"colons of URLs", "link\n" + repeat(9, "http://a.b/%[1]d\n"), ",", "link", 9, "http://a.b/1", ""},
		{"one column of timestamps", "timestamp\n" + repeat(9, "2020-01-0%[1]d 10:0%[1]d:00\n"), ",", "timestamp", 9, "2020-01-01 10:01:00", ""},
		{"one column of timestamps without a name", repeat(9, "2020-01-0%[1]d 10:0%[1]d:00.123456\n"), ",", "-", 9, "2020-01-01 10:01:00.123456", ""},
		{"one column of timestamps, mixed", "at\n" + repeat(9, "2020-01-0%[1]dT10:00:00Z\n0%[1]d/02/2020 10:00 PM\n"), ",", "at", 18, "2020-01-01T10:00:00Z", ""},
		{"days and times in two columns", repeat(9, "2020-01-0%[1]d,10:0%[1]d:00\n"), ",", "-", 9, "2020-01-01,10:01:00", ""},
		{"days, times and numbers by spaces", repeat(9, "2020-01-0%[1]d 10:0%[1]d:00 %[1]d.5\n"), " ", "-", 9, "2020-01-01,10:01:00,1.5", ""},
		{"as many words in both columns", "name,descr\n" + repeat(30, "Ann%[1]d Lee,big red dog\n"), ",", "name|descr", 30, "Ann1 Lee,big red dog", ""},
		{"as many words in one column", "title\n" + repeat(9, "chapter%[1]d of story\n"), ",", "title", 9, "chapter1 of story", ""},
		{"as many words in one column and its name", "title of book\n" + repeat(9, "chapter%[1]d of story\n"), ",", "title of book", 9, "chapter1 of story", ""},
		{"addresses of as many words", "address\n" + repeat(9, "%[1]d High Street\n"), ",", "address", 9, "1 High Street", ""},
		{"colons of times", repeat(9, "0%[1]d:15\n"), ",", "-", 9, "01:15", ""},
		{"control characters", "a\x01b\x01c\n" + repeat(9, "%[1]d\x01x\x012.5\n"), "\x01", "a|b|c", 9, "1,x,2.5", ""},
		{"two bars", "a||b||c\n" + repeat(9, "%[1]d||x|y||2.5\n"), "||", "a|b|c", 9, "1,x|y,2.5", ""},
		{"carets", "a^b^c\n" + repeat(9, "%[1]d^x, y^2.5\n"), "^", "a|b|c", 9, `1,"x, y",2.5`, ""},
		{"tildes", "a~b~c\n" + repeat(9, "%[1]d~x~2.5\n"), "~", "a|b|c", 9, "1,x,2.5", ""},
		{"umlauts of Windows", encoded(t, charmap.Windows1252, "Straße;Größe\n"+repeat(9, "Mühle %[1]d;%[1]d\n")), ";windows-1252", "Straße|Größe", 9, "Mühle 1,1", ""},
		{"Cyrillic of Windows", encoded(t, charmap.Windows1251, "имя;город\n"+repeat(9, "Иван %[1]d;Москва\n")), ";windows-1251", "имя|город", 9, "Иван 1,Москва", ""},
		{"Cyrillic of Unix", encoded(t, charmap.KOI8R, "имя;город\n"+repeat(9, "Иван %[1]d;Москва\n")), ";koi8-r", "имя|город", 9, "Иван 1,Москва", ""},
		{"Polish of Windows", encoded(t, charmap.Windows1250, "imię;miasto\n"+repeat(9, "Wałęsa %[1]d;Łódź świętokrzyska\n")), ";windows-1250", "imię|miasto", 9, "Wałęsa 1,Łódź świętokrzyska", ""},
		{"umlauts of DOS", encoded(t, charmap.CodePage850, "Straße;Größe\n"+repeat(9, "Mühle %[1]d;Äpfel\n")), ";ibm850", "Straße|Größe", 9, "Mühle 1,Äpfel", ""},
		{"umlauts of the Macintosh", encoded(t, charmap.Macintosh, "Straße;Größe\r"+repeat(9, "Mühle %[1]d;Käse\r")), ";macintosh", "Straße|Größe", 9, "Mühle 1,Käse", ""},
		{"Japanese", encoded(t, japanese.ShiftJIS, "都道府県,人口\n"+repeat(9, "東京都%[1]d,%[1]d00\n")), ",shift_jis", "都道府県|人口", 9, "東京都1,100", ""},
		{"Chinese", encoded(t, simplifiedchinese.GB18030, "姓名,城市\n"+rows("北京 上海 广州 深圳 天津 重庆 成都 武汉 西安 南京 杭州 苏州 朝阳区建国路 统计数据 平均工资 增长率 数据来源")), ",gb18030", "姓名|城市", 17, "1,北京", ""},
		{"Korean", encoded(t, korean.EUCKR, "이름,주소\n"+rows("서울 부산 대구 인천 광주 대전 울산 세종 경기도 강원도 종로구 용산구 성동구 광진구 중랑구")), ",euc-kr", "이름|주소", 15, "1,서울", ""},
		{"Japanese of Unix", encoded(t, japanese.EUCJP, "氏名,住所\n"+rows("データ カテゴリ さくら市 つくば市 みどり市 いわき市 ひたちなか市 東京都 大阪府 人口 面積 合計 年齢")), ",euc-jp", "氏名|住所", 13, "1,データ", ""},
		{"Russian of even lengths", encoded(t, charmap.Windows1251, "имя,город\n"+rows("Москва Казань Самара Анна Иван Тула Киев Рига Баку Сургут Якутск Ижевск Рязань Ростов Волгоград Пермь")), ",windows-1251", "имя|город", 16, "1,Москва", ""},
		{"UTF-16 without a BOM", string(utf16Bytes("name,n\n"+repeat(9, "x%[1]d,%[1]d\n"), false)), ",utf-16le", "name|n", 9, "x1,1", ""},
		{"lines quoted as a whole", wrapped("id,name,town\n" + repeat(9, "%[1]d,\"Smith, J\",Leeds\n")), ",", "id|name|town", 9, `1,"Smith, J",Leeds`, ""},
		{"lines quoted as a whole, all cells quoted", wrapped("\"id\";\"name\"\n" + repeat(9, "\"%[1]d\";\"x \"\"y\"\"; z\"\n") + "\"id\";\"name\"\n"), ";", "id|name", 9, `1,"x ""y""; z"`, ""},
		{"lines quoted as a whole, but not the header, and a footer", "id,name,town\n" + wrapped(repeat(20, "%[1]d,x,Leeds\n")) + "\nSource: Office, 2020\n", ",", "id|name|town", 20, `1,x,Leeds`, "footer 1"},
		{"lines quoted as a whole under a title", "Towns, by size\n\n" + wrapped("id;wert\n"+repeat(20, "%[1]d;\"1,5\"\n")), ";", "id|wert", 20, `1,"1,5"`, ""},
		{"some lines quoted as a whole", "id,name,town\n" + repeat(9, "%[1]d,x,Leeds\n") + wrapped("10,\"a, b\",York\n"), ",", "id|name|town", 10, "1,x,Leeds", ""},
		{"one column of addresses", "address\n" + repeat(9, "\"%[1]d High St, York, UK\"\n"), ",", "address", 9, `"1 High St, York, UK"`, ""},
		{"one column of decimal commas in quotes", "wert\n" + repeat(9, "\"%[1]d,5\"\n"), ",", "wert", 9, `"1,5"`, ""},
		{"one column of sayings", "\"said\"\n" + repeat(9, "\"He said \"\"no, %[1]d\"\", then left\"\n"), ",", "said", 9, `"He said ""no, 1"", then left"`, ""},
		{"units that days with points have not", "Tag;PM10;NO2;O3\n;µg/m³;µg/m³;µg/m³\n" + repeat(28, "%02[1]d.01.2020;%[1]d,5;%[1]d;%[1]d2\n"), ";", "Tag|PM10 µg/m³|NO2 µg/m³|O3 µg/m³", 28, `01.01.2020,"1,5",1,12`, ""},
		{"years below groups", ",People,,Area,\n,2010,2020,km2,mi2\n" + repeat(9, "D%[1]d,%[1]d,%[1]d,%[1]d,%[1]d\n"), ",", "|People 2010|2020|Area km2|mi2", 9, "D1,1,1,1,1", ""},
		{"years below groups and the name of the rows", ",People,,Area,\nDistrict,2010,2020,2010,2020\n" + repeat(9, "D%[1]d,%[1]d,%[1]d,%[1]d,%[1]d\n"), ",", "District|People 2010|2020|Area 2010|2020", 9, "D1,1,1,1,1", ""},
		{"years as values below a name that is missing", "name,n,,m\nD0,2010,2020,2011\n" + repeat(9, "D%[1]d,%[1]d,%[1]d,%[1]d\n"), ",", "name|n||m", 10, "D0,2010,2020,2011", ""},
		{"single letters below groups", "Men,,,Women,\nage,n,,age,n\n" + repeat(9, "%[1]d,%[1]d,,%[1]d,%[1]d\n"), ",", "Men age|n||Women age|n", 9, "1,1,,1,1", ""},
		{"names that are cut short", "Name;Str.;Ref. No.\n" + repeat(9, "Ann%[1]d Lee;Weg x%[1]d;some text%[1]d\n"), ";", "Name|Str.|Ref. No.", 9, "Ann1 Lee,Weg x1,some text1", ""},
		{"commas in names over texts without", "\"Name\",\"Town, county\",\"Job (main, other)\"\n" + repeat(9, "\"Ann%[1]d Lee\",\"Leeds\",\"Cook, Nurse\"\n"), ",", "Name|Town, county|Job (main, other)", 9, `"Ann1 Lee","Leeds","Cook, Nurse"`, ""},
		{"commas over texts with commas", "\"Lee, Ann\";\"Bonn, Weg\"\n\"Roy, Bob\";\"Ulm, Am Tor\"\n\"Fox, Joe\";\"Kiel, Hafen\"\n\"Ray, Eva\";\"Trier, Markt\"\n", ";", "-", 4, `"Lee, Ann","Bonn, Weg"`, ""},
		{"a sentence over texts that are none", "Hans Meier;wohnt in Ulm, am Tor.\nIna Lang;wohnt in Bonn\nUte Kurz;wohnt in Kiel\nJan Breit;zog weg\n", ";", "-", 4, `Hans Meier,"wohnt in Ulm, am Tor."`, ""},
		{"questions and line breaks in names", "\"What is your name?\",\"Do you like it,\nor not?\"\n" + repeat(9, "\"Ann%[1]d Lee\",\"no answer\"\n"), ",", "What is your name?|Do you like it,\nor not?", 9, `"Ann1 Lee","no answer"`, ""},
		{"small letters over codes in capitals", "id,cc,typ\n" + "AB,DE,XYZ\nBC,FR,ABC\nCD,IT,XYZ\nDE,DE,ABC\nEF,FR,ABC\n", ",", "id|cc|typ", 5, "AB,DE,XYZ", ""},
		{"numbers of channels over what they measure", "x-axis,1,2\nsecond,Volt,Volt\n" + repeat(20, "-5.%02[1]dE-04,+2.1E-02,-1.%[1]dE+00\n"), ",", "x-axis second|1 Volt|2 Volt", 20, "-5.01E-04,+2.1E-02,-1.1E+00", ""},
		{"names, units and processing of a logger", "\"TOA5\",\"S\",\"CR1000\",\"123\",\"OS\",\"CPU\"\n\"TIMESTAMP\",\"RECORD\",\"Batt\",\"Air\"\n\"TS\",\"RN\",\"Volts\",\"Deg C\"\n\"\",\"\",\"Min\",\"Avg\"\n" + repeat(20, "\"2020-01-01 %02[1]d:00:00\",%[1]d,12.%[1]d,%[1]d.5\n"), ",", "TIMESTAMP TS|RECORD RN|Batt Volts Min|Air Deg C Avg", 20, `"2020-01-01 01:00:00",1,12.1,1.5`, ""},
		{"answers below the questions that have no names", "Id,Start,Your role?,,Tools?,,\n,,Response,Other,Excel,R,Python\n" + repeat(20, "%[1]d,2020-01-%02[1]d,Boss,,Excel,,Python\n"), ",", "Id|Start|Your role? Response|Other|Tools? Excel|R|Python", 20, "1,2020-01-01,Boss,,Excel,,Python", ""},
		{"a first row that has a text only where there is no name", ",n,m\nx0,,\n" + repeat(9, "x%[1]d,%[1]d,%[1]d\n"), ",", "|n|m", 10, "x0,,", ""},
		{"lines that SAP draws", "01.02.2020    List   1\n----------\n\n----------\n|Material|Plant|Menge |\n----------\n" + repeat(20, "|47%02[1]d    |1000 |%[1]d,00  |\n") + "----------\n", "|", "|Material|Plant|Menge |", 20, `,4701    ,1000 ,"1,00  ",`, "footer 1"},
		{"lines that MySQL draws", "+----+------+\n| id | name |\n+----+------+\n" + repeat(20, "|%3[1]d | n%[1]d |\n") + "+----+------+\n", "|", "| id | name |", 20, ",  1 , n1 ,", "footer 1"},
		{"numbers on a line above the names", "#1.2\n30\t3\nNAME\tDescription\tS1\tS2\n" + repeat(30, "G%[1]d\ta gene\t%[1]d\t%[1]d.5\n"), "\t", "NAME|Description|S1|S2", 30, "G1,a gene,1,1.5", ""},
		{"sentences with commas above the names", "Note 1: This file, made by us, is provisional.\nNote 2: See our pages, for more.\nRegion,Men,Women\n" + repeat(9, "R%[1]d,%[1]d,%[1]d2\n"), ",", "Region|Men|Women", 9, "R1,1,12", ""},
		{"a source with commas right behind the rows", "Region,Men,Women\n" + repeat(20, "R%[1]d,%[1]d,%[1]d2\n") + "Source: Office for Statistics, Census 2011, Table QS101\n", ",", "Region|Men|Women", 20, "R1,1,12", "footer 1"},
		{"texts with spaces behind delimiters are rows", "Region,Men,Women\n" + repeat(20, "R%[1]d, %[1]d, %[1]d2\n") + "R21, few, some\n", ",", "Region|Men|Women", 21, "R1, 1, 12", ""},
		{"columns set below each other", "\"Index\", \"Girth (in)\", \"Height (ft)\"\n" + repeat(20, " %[1]d,   8.%[1]d,     7%[1]d\n"), ",+padded", "Index|Girth (in)|Height (ft)", 20, " 1,   8.1,     71", ""},
		{"rows that are named, of numbers", "S1\tS2\tS3\n" + repeat(20, "GENE%[1]d\t%[1]d\t%[1]d2\t%[1]d3\n"), "\t", "|S1|S2|S3", 20, "GENE1,1,12,13", ""},
		{"a name that is missing over texts", "name,town\n" + repeat(20, "Ann%[1]d,x%[1]d,Leeds\n"), ",", "name|town", 20, "Ann1,x1,Leeds", ""},
		{"the fields of a web server's log", "#Version: 1.0\n#Fields: date time s-ip cs-method sc-status\n" + repeat(20, "2020-01-%02[1]d 00:00:01 10.0.0.1 GET %[1]d\n"), " ", "date|time|s-ip|cs-method|sc-status", 20, "2020-01-01,00:00:01,10.0.0.1,GET,1", ""},
		{"the mark of a comment before the names", "# x y z\n" + repeat(20, "%[1]d %[1]d.5 -%[1]d\n"), " ", "x|y|z", 20, "1,1.5,-1", ""},
		{"several tables below", "Body\nDate,Weight,BMI\n" + repeat(20, "2020-01-%02[1]d,80.%[1]d,24\n") + "\nFoods\nDate,Calories\n" + repeat(9, "2020-01-%02[1]d,%[1]d\n") + "\nSteps\nDate,Calories,Steps,Floors\n" + repeat(9, "2020-01-%02[1]d,%[1]d,%[1]d,0\n"), ",", "Date|Weight|BMI", 20, "2020-01-01,80.1,24", "second_table 22"},
		{"a larger and narrower table below", "# Pages\n\nPage,Views,Bounce\n" + repeat(9, "/x%[1]d,%[1]d,1%[1]d%%\n") + "\nDay,Views\n" + repeat(28, "2020-01-%02[1]d,%[1]d\n"), ",", "Page|Views|Bounce", 9, "/x1,1,11%", "second_table 29"},
		{"numbered remarks", "People by age\nYearly\nTable 17\nCanada\n\nAge,2019,2020\n" + repeat(20, "%[1]d years,%[1]d2,%[1]d3\n") + "\nFootnotes:\n1,Estimates are based on counts.\n,Source: Office\n", ",", "Age|2019|2020", 20, "1 years,12,13", "footer 3"},
		{"remarks below groups of rows", "Region,2019,2020\nENGLAND,,\n" + repeat(9, "x%[1]d,%[1]d,%[1]d\n") + ",,\nWALES,,\n" + repeat(9, "y%[1]d,%[1]d,%[1]d\n") + ",,\nSource: Home Office,,\n", ",", "Region|2019|2020", 21, "ENGLAND,,", "footer 2"},
		{"a group without rows at the end", "Region,2019,2020\nENGLAND,,\n" + repeat(9, "x%[1]d,%[1]d,%[1]d\n") + ",,\nWALES,,\n", ",", "Region|2019|2020", 12, "ENGLAND,,", ""},
		{"tildes as quotes", repeat(20, "~0%[1]d~^~Butter, x~^~~^%[1]d.5\n"), "^~", "-", 20, `01,"Butter, x","",1.5`, ""},
		{"a title of two cells", "Spending over 500,Quarter 1,\nDirectorate,Vendor,Amount\n" + repeat(20, "Adults,Smith%[1]d Ltd,%[1]d.00\n"), ",", "Directorate|Vendor|Amount", 20, "Adults,Smith1 Ltd,1.00", ""},
		{"numbers in equal steps by chance", "2,2,3,4,1\n" + repeat(20, "%[1]d,4,4,1%[1]d,3\n"), ",", "-", 21, "2,2,3,4,1", ""},
		{"three years in equal steps", "2010,2011,2012\n" + repeat(9, "%[1]d,%[1]d5,4%[1]d\n"), ",", "2010|2011|2012", 9, "1,15,41", ""},
		{"keys and values in all columns", "Channels\t2\t\t\nSamples\t40\t40\t\nDate\t2020/01/01\t2020/01/01\t\n***End***\t\t\t\nX_Value\tVolt\tVolt (2)\tComment\n" + repeat(20, "0.%02[1]d\t%[1]d.5\t%[1]d.7\t\n"), "\t", "X_Value|Volt|Volt (2)|Comment", 20, "0.01,1.5,1.7,", ""},
		{"the name of the rows' column below names on two levels", ",value,value\n,mean,std\ngroup,,\n" + repeat(9, "g%[1]d,%[1]d.5,0.%[1]d\n"), ",", "group|value mean|value std", 9, "g1,1.5,0.1", ""},
		{"groups of rows below names on two levels", ",2019,,2020,\n,Men,Women,Men,Women\nENGLAND,,,,\n" + repeat(9, "x%[1]d,1,2,3,4\n") + "WALES,,,,\n" + repeat(9, "y%[1]d,1,2,3,4\n"), ",", "|2019 Men|Women|2020 Men|Women", 20, "ENGLAND,,,,", ""},
		{"several keys and values on a line", "Bank:;Ulm;;;\nBLZ:;630;;Datum:;01.02.2020\nZeitraum:;;von:;01.01.2020;\n\nTag;Valuta;Zweck;Umsatz;S/H\n" + repeat(20, "%02[1]d.01.2020;%02[1]d.01.2020;Miete;%[1]d,00;S\n"), ";", "Tag|Valuta|Zweck|Umsatz|S/H", 20, `01.01.2020,01.01.2020,Miete,"1,00",S`, ""},
		{"names in a comment above an empty one", "# Source: office\n# \n# STN,YYYYMMDD,   TG\n# \n" + repeat(20, "  260,202001%02[1]d,  %[1]d\n"), ",", "# STN|YYYYMMDD|   TG", 20, "  260,20200101,  1", ""},
		{"numbers to the right of a column that psql draws", " id | name |  v  \n----+------+-----\n" + repeat(20, " %2[1]d | n%[1]d | %3[1]d\n") + "(20 rows)\n", " | ", " id|name| v  ", 20, "  1,n1,  1", "footer 1"},
		{"remarks in a table of two columns", "area,n\n" + repeat(20, "x%[1]d,%[1]d\n") + ",\nSource: Office,\nprovisional,\n", ",", "area|n", 20, "x1,1", "footer 3"},
		{"last rows without a number in a table of two columns", "area,n\n" + repeat(20, "x%[1]d,%[1]d\n") + ",\ny,\nz,\n", ",", "area|n", 23, "x1,1", ""},
		{"a last row by another delimiter", "day,town,n\n" + repeat(20, "2020-01-%02[1]d,x%[1]d,%[1]d\n") + "2020-01-21;y;7\n", ",", "day|town|n", 21, "2020-01-01,x1,1", ""},
		{"a remark with another delimiter", "day,town,n\n" + repeat(20, "2020-01-%02[1]d,x%[1]d,%[1]d\n") + "Source: office; provisional; table 7\n", ",", "day|town|n", 20, "2020-01-01,x1,1", "footer 1"},
		{"a number sign over numbers, and an empty name behind the others", "#,name,score,\n" + repeat(20, "%[1]d,x%[1]d,%[1]d.5\n"), ",", "#|name|score", 20, "1,x1,1.5", ""},
		{"numbers that count from 1, and others", "id,1,2,3,5,10\n" + repeat(20, "x%[1]d,%[1]d.5,%[1]d,3,4%[1]d,1.5\n"), ",", "id|1|2|3|5|10", 20, "x1,1.5,1,3,41,1.5", ""},
		{"a last row that was typed in", "area,n,pct\n" + repeat(20, "x%[1]d,%[1]d,%[1]d%%\n") + "Wales, unknown, unknown\n", ",", "area|n|pct", 21, "x1,1,1%", ""},
		{"another last line end", "a,b\r\n" + repeat(9, "%[1]d,x\r\n") + "10,y\n", ",", "a|b", 10, "1,x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, why, err := csv.Explain([]byte(c.text), true, csv.Overrides{})
			if err != nil {
				t.Fatal(err)
			}
			d := found.Dialect
			dialect := d.Delimiter
			for _, b := range []byte{d.Quote, d.Escape, d.Comment} {
				if b != 0 && b != '"' {
					dialect += string(rune(b))
				}
			}
			if d.Encoding != csv.UTF8 {
				dialect += d.Encoding
			}
			if d.Trailing {
				dialect += "+trailing"
			}
			if d.Padded {
				dialect += "+padded"
			}
			if d.LineEnd != csv.AnyLineEnd {
				dialect += "+" + d.LineEnd
			}
			columns := "-"
			if d.Header {
				columns = strings.Join(found.Columns, "|")
			}
			if dialect != c.dialect || columns != c.columns {
				t.Errorf("dialect %q, columns %q; want %q, %q\n%+v", dialect, columns, c.dialect, c.columns, why)
			}
			var r io.Reader = strings.NewReader(c.text)
			if d.ByteOffsets() {
				r = bytes.NewReader([]byte(c.text)[found.Body:])
			}
			rows, first, outside, rule := 0, "", 0, ""
			s := csv.NewSplitter(r, d, found.Options())
			for {
				row, err := s.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if row.Rule != "" {
					outside, rule = outside+1, row.Rule
					continue
				}
				if rows++; rows == 1 {
					first = string(s.AppendRFC4180(nil))
				}
			}
			got := ""
			if outside > 0 {
				got = fmt.Sprint(rule, " ", outside)
			}
			if diff := cmp.Diff([]any{c.rows, c.first, c.outside}, []any{rows, first, got}); diff != "" {
				t.Errorf("rows, the first of them, and rejects (-want +got):\n%s%+v", diff, why)
			}
		})
	}
}
